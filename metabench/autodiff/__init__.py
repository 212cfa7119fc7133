"""Derivatives of losses and inner steps, finite differences, compilation, operation counts."""
