"""`metabench report`."""
