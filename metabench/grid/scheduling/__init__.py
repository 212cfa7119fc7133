"""Which cell runs next, what failed, and what the rest will take."""
