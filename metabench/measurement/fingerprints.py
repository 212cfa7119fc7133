"""Names of files and initial parameters that contain a digest of their contents."""

from __future__ import annotations

import functools
import hashlib
from pathlib import Path

from metabench.families.base import Family
from metabench.families.own_problem import ProblemFamily
from metabench.problems.checkpoint_files import parts


def fingerprint_of_file(path: str) -> str:
    """Return a file's name with a digest of its contents: `theta.pt@0123456789ab`."""
    changed = max(part.stat().st_mtime_ns for part in parts(Path(path)))
    return f"{Path(path).name}@{_digest_of(path, changed)}"


def fingerprint_of_initial_theta(family: Family) -> str:
    """Return `initial`, or a digest of the parameters that a user's problem comes with."""
    if not isinstance(family, ProblemFamily) or family.given.theta is None:
        return "initial"
    held = hashlib.sha256()
    for value in (family.given.theta, *family.given.fixed.values()):
        held.update(value.detach().cpu().contiguous().numpy().tobytes())
    return f"module@{held.hexdigest()[:12]}"


@functools.lru_cache
def _digest_of(path: str, changed: int) -> str:
    """Return a file's digest; it is read once for the many cells of a study."""
    held = hashlib.sha256()
    for part in parts(Path(path)):
        held.update(part.read_bytes())
    return held.hexdigest()[:12]
