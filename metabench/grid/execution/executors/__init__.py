"""Executors, which start the processes that measure cells."""
