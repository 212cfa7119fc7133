"""How one cell of a grid is run, whole or in parts."""
