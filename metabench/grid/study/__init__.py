"""Study files: axes, exclusions and the cells they define."""
