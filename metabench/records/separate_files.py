"""No file that a command writes is one that it reads, part of a store, or written twice."""

from __future__ import annotations

import contextlib
from collections.abc import Hashable, Iterable, Mapping
from pathlib import Path

from metabench.settings.errors import InvalidInput

# What a store's folder holds; see metabench.records.store.store.
OF_A_STORE = (
    *("store.json", "snapshot.json", "read_in_full.txt"),
    *("cells", "environments", "parts", "set_aside"),
)


def require_separate(outputs: Mapping[str, Path], inputs: Iterable[Path]) -> None:
    """Check that no output would replace an input, a file of a store or another output.

    Args:
        outputs: paths to be written, by the option that names each.
        inputs: files that are read.

    Raises:
        InvalidInput: naming the option and the path.
    """
    read = {mark for path in inputs for mark in _marks(path)}
    taken: dict[Hashable, str] = {}
    for option, path in outputs.items():
        if owner := owning_store(path):
            raise InvalidInput(f"{option} {path} is a file of the store {owner}; give another one.")
        marks = _marks(path)
        if marks & read:
            raise InvalidInput(
                f"{option} {path} is a file that this command reads; give another one."
            )
        for other in (taken[mark] for mark in marks if mark in taken):
            raise InvalidInput(f"{other} and {option} both name {path}; give two different files.")
        taken |= dict.fromkeys(marks, option)


def owning_store(path: Path) -> Path | None:
    """Return the store that a path is a file of, if there is one.

    A store may hold other files, such as a table that `show --csv` has written there.
    """
    place = path.resolve()
    for folder in place.parents:
        first, *rest = place.relative_to(folder).parts
        marked = (folder / "store.json").is_file() and (folder / "cells").is_dir()
        if marked and (first in OF_A_STORE or first.startswith("snapshot-")):
            return folder
        if first == "cells" and len(rest) == 2 and rest[1].startswith(rest[0]):  # its mark is lost
            return folder
    return None


def _marks(path: Path) -> set[Hashable]:
    """Return what is equal for two names of one file: its path without links, and its inode."""
    found: set[Hashable] = {path.resolve()}
    with contextlib.suppress(OSError):
        at = path.stat()
        found.add((at.st_dev, at.st_ino))
    return found
