"""One measurement: its settings, the checks before it, its findings."""
