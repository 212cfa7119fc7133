"""Surrogates of policy gradients.

`members.py` lists them, `surrogate.py` is their base class.
"""
