"""One probe from the command line."""
