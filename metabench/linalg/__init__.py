"""Lanczos, traces and spectra of matrices known by their products."""
