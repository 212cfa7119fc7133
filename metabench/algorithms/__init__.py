"""Algorithms: the meta-gradient of one task.

`members.py` lists them, `base.py` is their base class.
"""
