"""Free memory of this machine."""

from __future__ import annotations

import os

UNKNOWN = 4 * 2**30  # bytes, taken where the system doesn't say what is free


def free() -> int:
    """Return the free bytes, except those that caches hold."""
    try:
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (ValueError, OSError, AttributeError):
        return UNKNOWN
