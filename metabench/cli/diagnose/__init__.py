"""`metabench diagnose`."""
