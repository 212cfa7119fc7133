"""What lies where a file should: an ordinary one is read, anything else is moved out of the way."""

from __future__ import annotations

import os
import stat
import tempfile
from pathlib import Path

from metabench.settings.errors import InvalidInput


def read(path: Path) -> bytes:
    """Read an ordinary file whole; a pipe isn't waited for.

    Raises:
        OSError: if there is none, or it can't be read.
        InvalidInput: if it is a folder, a pipe, a device or a link to nothing.
    """
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK)  # a pipe would wait for a writer
    except FileNotFoundError as error:
        if path.is_symlink():
            raise InvalidInput(f"{path} is a link to a file that isn't there.") from error
        raise
    try:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            raise InvalidInput(f"{path} is not an ordinary file.")
        with os.fdopen(handle, "rb", closefd=False) as file:
            return file.read()
    finally:
        os.close(handle)


def text_of(path: Path) -> str:
    """Read a small file as text; "" if it can't be read."""
    try:
        return read(path).decode(errors="replace")
    except (OSError, InvalidInput):
        return ""


def set_aside(path: Path, folder: Path) -> Path | None:
    """Move what lies at a path to a free name in a folder; None if another process did so."""
    if os.path.lexists(folder) and not folder.is_dir():  # its name is taken by something else
        folder = Path(tempfile.mkdtemp(prefix=f"{folder.name}-", dir=folder.parent))
    folder.mkdir(parents=True, exist_ok=True)
    place = Path(tempfile.mkdtemp(prefix=f"{path.name}-", dir=folder)) / path.name
    try:
        path.rename(place)
    except FileNotFoundError:
        place.parent.rmdir()
        return None
    return place


def make_folder(path: Path, aside: Path) -> None:
    """Make a folder; what isn't one but has its name is set aside."""
    if os.path.lexists(path) and not path.is_dir():
        set_aside(path, aside)
    path.mkdir(parents=True, exist_ok=True)


def make_room(path: Path, aside: Path) -> None:
    """Set aside what has a file's name and is no ordinary file: a pipe, a folder, a dead link."""
    if os.path.lexists(path) and not path.is_file():
        set_aside(path, aside)
