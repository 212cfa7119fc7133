"""Rows, findings and provenance, and the files that hold them."""
