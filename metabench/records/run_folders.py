"""Folders and files that a command writes, checked before work starts."""

from __future__ import annotations

import errno
import re
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from metabench.records import atomic_files
from metabench.settings import fields
from metabench.settings.errors import InvalidInput

RUNS = Path("metabench-runs")
DIGITS = 6  # of the digest in a folder's name


def run_name(command: str, spec: Mapping[str, Any], digest: str) -> str:
    """Return the name of a run's folder: command, algorithm, family, K, first digits of the digest.

    Args:
        command: the command, or the name of a probe.
        spec: the settings.
        digest: of the settings.

    >>> algo = {"name": "my.py@0123456789ab:Mine", "steps": 5}
    >>> run_name("variance", {"algo": algo, "family": {"name": "digits"}}, "08c965716dc1")
    'variance-Mine-digits-K5-08c965'
    """
    parts = [str((spec.get(part) or {}).get("name", "")) for part in ("algo", "family")]
    steps = (spec.get("algo") or {}).get("steps")
    words = [command, *(part.rpartition(":")[2] for part in parts)]
    words += [] if steps is None else [f"K{steps}"]
    return "-".join(re.sub(r"[^\w.]+", "_", word) for word in [*words, digest[:DIGITS]] if word)


def run_folder(
    command: str, spec: Mapping[str, Any], more: Mapping[str, Any] | None = None
) -> Path:
    """Return the folder of this run, `metabench-runs/variance-maml-sinusoid-K5-08c965`.

    It is made when the first file is written, so that a run that is killed leaves none empty.

    Args:
        command: the command, or the name of a probe.
        spec: the settings, which the name tells apart.
        more: what the digest is made of besides.

    Raises:
        InvalidInput: if it can't be made or written to.
    """
    folder = RUNS / run_name(command, spec, fields.digest({**spec, **(more or {})}))
    try:
        RUNS.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InvalidInput(
            f"Results go to {folder}, which can't be created ({error.strerror}); run the command "
            "in a folder you may write to."
        ) from error
    check_writable(folder / "page.html")
    return folder


def make_folder(folder: Path) -> None:
    """Make a folder for files that a command writes at its end.

    Raises:
        InvalidInput: if it can't be made or written to.
    """
    if (why := _unusable(str(folder))) is not None:
        raise InvalidInput(f"The name {str(folder)!r} {why}; give another folder.")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InvalidInput(
            f"The folder {folder} can't be created ({error.strerror}); give another one."
        ) from error
    check_writable(folder / "file")


def check_writable(path: Path) -> None:
    """Check that a path can be written, before any work is done."""
    if (why := _unusable(str(path))) is not None:
        raise InvalidInput(f"The name {str(path)!r} {why}; give another path.")
    if _is_link_loop(path):
        raise InvalidInput(f"{path} is a link that leads back to itself; give another path.")
    path = path.resolve() if path.is_symlink() else path  # it is written through the link
    try:
        if path.is_dir():
            raise InvalidInput(f"{path} is a folder; give the name of a file.")
        if path.exists() and not path.is_file():  # a pipe or device, which a rename would destroy
            raise InvalidInput(f"{path} is not an ordinary file; give another path.")
        if blocking := next(filter(Path.is_file, path.parents), None):
            raise InvalidInput(f"{blocking} is a file, not a folder; give another path.")
        place = path.parent
        if place.parent == RUNS and not place.is_dir():  # a run's, made when it is written to
            place = RUNS
        if not place.is_dir():
            raise InvalidInput(f"The folder {place} doesn't exist; make it, or give another path.")
        with tempfile.NamedTemporaryFile(dir=place, prefix=f".{path.name}-"):
            pass
    except OSError as error:
        raise InvalidInput(
            f"{path} can't be written ({error.strerror}); give another path."
        ) from error


def _is_link_loop(path: Path) -> bool:
    """Tell whether links, of the file or a folder above it, lead in a circle."""
    try:
        path.stat()
    except OSError as error:
        return error.errno == errno.ELOOP
    return False


def _unusable(name: str) -> str | None:
    """Say why no file can have this name, None if one can."""
    if "\0" in name:
        return "contains the character NUL"
    try:
        name.encode()
    except UnicodeEncodeError:
        return "isn't UTF-8"
    return None


def write(path: Path, text: str) -> None:
    """Write a text file atomically."""
    atomic_files.write(path, text.encode())
