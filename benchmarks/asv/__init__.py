"""Suites for airspeed velocity: counters, which the gate compares, and process time."""
