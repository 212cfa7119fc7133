"""`metabench train` and `metabench autopsy`."""
