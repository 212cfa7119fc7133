"""Where a command writes: the files that were asked for, else those of the run's folder."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from metabench.records import run_folders
from metabench.settings.errors import InvalidInput


class ResultFiles(NamedTuple):
    """The page, the table and the record of one run."""

    html: Path
    csv: Path
    record: Path

    def write(self, document: str, table: str, record: str) -> None:
        """Write all three, each whole or not at all."""
        run_folders.write(self.record, record + "\n")
        run_folders.write(self.csv, table)
        run_folders.write(self.html, document)


def require_writable(html: Path | None, csv: Path | None) -> None:
    """Refuse files that can't be written, before any work is done.

    Raises:
        InvalidInput: if one can't be, or both are the same.
    """
    for path in filter(None, (html, csv)):
        run_folders.check_writable(path)
    if html and csv and html.resolve() == csv.resolve():
        raise InvalidInput(f"--html and --csv both name {html}; give each a file of its own.")


def files_in(folder: Path, html: Path | None, csv: Path | None) -> ResultFiles:
    """Give the files that were asked for, else those of the run's folder."""
    return ResultFiles(
        html or folder / "page.html", csv or folder / "table.csv", folder / "record.json"
    )
