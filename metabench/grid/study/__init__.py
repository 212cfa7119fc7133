"""Study files: axes, exclusions, and the cells that they make."""
