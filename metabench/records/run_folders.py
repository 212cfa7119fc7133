"""Folders and files that a command writes, checked before work starts."""

from __future__ import annotations

import tempfile
from pathlib import Path

from metabench.records import atomic_files
from metabench.settings.errors import InvalidInput

RUNS = Path("metabench-runs")


def run_folder(command: str, digest: str) -> Path:
    """Make the folder of this run, `metabench-runs/<command>-<digest>/`.

    Raises:
        InvalidInput: if it can't be made or written to.
    """
    folder = RUNS / f"{command}-{digest}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
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
    try:
        if path.is_dir():
            raise InvalidInput(f"{path} is a folder; give the name of a file.")
        if path.exists() and not path.is_file():  # a pipe or device, which a rename would destroy
            raise InvalidInput(f"{path} is not an ordinary file; give another path.")
        if blocking := next(filter(Path.is_file, path.parents), None):
            raise InvalidInput(f"{blocking} is a file, not a folder; give another path.")
        if not path.parent.is_dir():
            raise InvalidInput(
                f"The folder {path.parent} doesn't exist; make it, or give another path."
            )
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}-"):
            pass
    except OSError as error:
        raise InvalidInput(
            f"{path} can't be written ({error.strerror}); give another path."
        ) from error


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
