"""One measurement: its settings, the check ahead of it, its findings."""
