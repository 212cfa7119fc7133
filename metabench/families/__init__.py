"""Task families: tasks, and the model that is trained on them.

`members.py` lists them, `base.py` is their base class.
"""
