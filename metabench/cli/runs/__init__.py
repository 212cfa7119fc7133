"""`metabench runs`, and past runs in `show` and `compare`."""
