"""Hessians of the constants probe: their norms, how they change, and how sets differ."""
