"""A grid's store: where each cell's record lies, and tables of all of them."""
