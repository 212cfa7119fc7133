"""`metabench list` and `metabench contract`."""
