"""Measurement of a grid's cells, whole or in parts."""
