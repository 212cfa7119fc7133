"""Folders and files that a command writes, checked before work starts."""

from __future__ import annotations

import csv
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from metabench.records import atomic_files
from metabench.settings.errors import InvalidInput

if TYPE_CHECKING:
    import pandas as pd

RUNS = Path("metabench-runs")


def to_csv(table: pd.DataFrame) -> str:
    """Return the tidy table as CSV, with numbers in full precision."""
    text: str = table.to_csv(index=False, quoting=csv.QUOTE_MINIMAL)
    return text


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


def check_writable(path: Path) -> None:
    """Check that a path can be written, before any work is done."""
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


def write(path: Path, text: str) -> None:
    """Write a text file atomically."""
    atomic_files.write(path, text.encode())
