"""Errors, typed fields, the registry of members, amounts."""
