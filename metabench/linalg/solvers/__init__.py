"""Linear solvers of A x = b.

`members.py` lists them, `solver.py` is their base class.
"""
