"""A user's module as a function of its parameters: checks, norms, convolutions, statistics."""
