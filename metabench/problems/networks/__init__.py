"""A user's module made a function of its parameters, and what it must not contain."""
