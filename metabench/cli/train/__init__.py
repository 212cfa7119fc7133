"""`metabench train` and `metabench replay`."""
