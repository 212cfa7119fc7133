"""Grids: a study file, every device at hand, several machines, nothing lost."""
