"""Suites for airspeed velocity: counters are the gate, process time stands beside them."""
