"""Estimates with intervals; NumPy and SciPy only."""
