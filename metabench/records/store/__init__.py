"""A grid's store: how a cell is written and read, where it lies, tables of all cells."""
