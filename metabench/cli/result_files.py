"""Files that a command writes: those given by options, else those of the run's folder."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import click

from metabench.cli.files_read import files_read
from metabench.records import run_folders
from metabench.records.separate_files import require_separate


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


def require_writable(outputs: Mapping[str, Path | None]) -> None:
    """Check that all files can be written, before any work is done.

    Args:
        outputs: the paths, by the option that names each; None is not written.

    Raises:
        InvalidInput: if one can't be written, two are the same, or the command reads one.
    """
    given = {option: path for option, path in outputs.items() if path is not None}
    for path in given.values():
        run_folders.check_writable(path)
    context = click.get_current_context(silent=True)
    require_separate(given, files_read(context) if context else ())


def files_in(folder: Path, html: Path | None, csv: Path | None) -> ResultFiles:
    """Return the paths given by options, else those in the run's folder.

    Args:
        folder: the run's folder.
        html: path of the page, if given.
        csv: path of the table, if given.

    Raises:
        InvalidInput: if one can't be written, two are the same, or the command reads one.
    """
    files = ResultFiles(
        html or folder / "page.html", csv or folder / "table.csv", folder / "record.json"
    )
    require_writable({"--html": files.html, "--csv": files.csv, "the record": files.record})
    return files
