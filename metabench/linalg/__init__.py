"""Lanczos, traces, spectra and linear solvers from matrix-vector products."""
