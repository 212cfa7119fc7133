"""Inner optimizers: one update of phi from a gradient.

`members.py` lists them, `inner_optimizer.py` is their base class.
"""
