"""List of the records of a store that were read in full; only changed ones are read again.

A line per file: name, size, time of the last change and inode. If the list is damaged or removed,
the records are read in full again; a line that doesn't match its file is ignored.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable
from pathlib import Path

from metabench.records import ordinary_files, run_folders
from metabench.settings.errors import InvalidInput

NAME = "read_in_full.txt"


def line(entry: os.DirEntry[str]) -> str:
    """Return the line of a file: name, size, time of the last change, inode."""
    at = entry.stat()
    return f"{entry.name} {at.st_size} {at.st_mtime_ns} {at.st_ino}"


def load(folder: Path) -> set[str]:
    """Return the lines of a store's list; none if there is no list."""
    try:
        return set(ordinary_files.read(folder / NAME).decode().splitlines())
    except (OSError, InvalidInput, UnicodeDecodeError):
        return set()


def save(folder: Path, lines: Iterable[str]) -> None:
    """Keep the list, if the store can be written to: without it, records are read again."""
    with contextlib.suppress(OSError):
        run_folders.write(folder / NAME, "".join(f"{line}\n" for line in sorted(lines)))
