"""A digest of what a Python file does: comments, blank lines and layout leave it as it is."""

from __future__ import annotations

import ast
import functools
import hashlib
from pathlib import Path


def digest_of_source(path: Path) -> str:
    """Return 12 digits that change with the file's code, and not with its comments or layout."""
    return _digest(path.read_bytes())


@functools.lru_cache(maxsize=64)  # a study asks for every cell, of the same few files
def _digest(source: bytes) -> str:
    """Return the digest of a file's code, or of its bytes if they are no Python.

    >>> _digest(b"x = 1") == _digest(b"x=1  # one") != _digest(b"x = 2")
    True
    """
    try:
        code = ast.unparse(ast.parse(source)).encode()
    except (SyntaxError, ValueError):  # said in a sentence where the file is run
        code = source
    return hashlib.sha256(code).hexdigest()[:12]
