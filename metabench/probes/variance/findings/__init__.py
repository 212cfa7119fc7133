"""Findings of the variance probe, one subject per file; none imports torch."""
