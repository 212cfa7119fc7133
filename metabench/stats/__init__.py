"""Estimators with confidence intervals; NumPy and SciPy only."""
