"""Probes: one question a folder.

`members.py` lists them, `base.py` is their base class.
"""
