"""What a cell starts from, named by its contents: a file may change, its name stays."""

from __future__ import annotations

import functools
import hashlib
import re
from pathlib import Path

from metabench.problems.custom import ProblemFamily
from metabench.problems.family import Family


def fingerprint_of_file(path: str) -> str:
    """Name a file by its contents, so that another file of the same name is another cell."""
    changed = Path(path).stat().st_mtime_ns
    return f"{Path(path).name}@{_digest_of(path, changed)}"


def fingerprint_of_initial_theta(family: Family) -> str:
    """Name the values of a module, which may change though its file doesn't."""
    if not isinstance(family, ProblemFamily) or family.given.theta is None:
        return "initial"
    held = hashlib.sha256()
    for value in (family.given.theta, *family.given.fixed.values()):
        held.update(value.detach().cpu().contiguous().numpy().tobytes())
    return f"module@{held.hexdigest()[:12]}"


def without_digest(name: str) -> str:
    """Give a name without the digest of its contents.

    >>> removed("mine.py@0123456789ab:Algorithm")
    'mine.py:Algorithm'
    """
    return re.sub(r"@[0-9a-f]{12}", "", name)


@functools.lru_cache
def _digest_of(path: str, changed: int) -> str:
    """Read a file once for the many cells of a study that share it."""
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()[:12]
