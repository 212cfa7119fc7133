"""Checks that take more than the gate ahead of every measurement has time for."""
