"""How much memory may a measurement take?"""

from __future__ import annotations

import os
import re

from metabench.settings.errors import Misuse

UNITS = {"": 1, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "TiB": 2**40}
UNKNOWN = 4 * 2**30  # bytes, taken where the system doesn't say what is free


def parse(text: str) -> int:
    """Turn `4GiB` into bytes; `half` is half of what is free now.

    >>> parse("4GiB")
    4294967296
    """
    if text == "half":
        return free() // 2
    match = re.fullmatch(r"(\d+(?:\.\d+)?) ?([KMGT]iB|)", text)
    if match is None or not float(match[1]) > 0:
        raise Misuse(f"memory is {text!r}; give an amount such as 4GiB or 500MiB, or half.")
    return int(float(match[1]) * UNITS[match[2]])


def free() -> int:
    """Give the bytes that are free for the taking, caches aside."""
    try:
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (ValueError, OSError, AttributeError):
        return UNKNOWN
