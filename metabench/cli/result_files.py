"""Files that a command writes: those given by options, else those of the run's folder."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from metabench.records import run_folders
from metabench.settings.errors import InvalidInput


class ResultFiles(NamedTuple):
    """Paths of the page, the table and the record of one run."""

    html: Path
    csv: Path
    record: Path

    def write(self, document: str, table: str, record: str) -> None:
        """Write all three files, each atomically.

        Args:
            document: the page, as HTML.
            table: the tidy table, as CSV.
            record: the record, as JSON.
        """
        for path in self:
            path.parent.mkdir(exist_ok=True)  # the run's folder, or one that was there before
        run_folders.write(self.record, record + "\n")
        run_folders.write(self.csv, table)
        run_folders.write(self.html, document)


def require_writable(html: Path | None, csv: Path | None) -> None:
    """Check that the files can be written, before any work is done.

    Raises:
        InvalidInput: if one can't be written, or both are the same.
    """
    for path in filter(None, (html, csv)):
        run_folders.check_writable(path)
    if html and csv and html.resolve() == csv.resolve():
        raise InvalidInput(f"--html and --csv both name {html}; give two different files.")


def files_in(folder: Path, html: Path | None, csv: Path | None) -> ResultFiles:
    """Return the paths given by options, else those in the run's folder.

    Args:
        folder: the run's folder.
        html: path of the page, if given.
        csv: path of the table, if given.

    Raises:
        InvalidInput: if one can't be written.
    """
    files = ResultFiles(
        html or folder / "page.html", csv or folder / "table.csv", folder / "record.json"
    )
    for path in files:
        run_folders.check_writable(path)
    return files
