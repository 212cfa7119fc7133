"""`metabench new`: working files to start from."""
