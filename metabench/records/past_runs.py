"""Runs of commands in `metabench-runs`: found by folder, name or digest, and listed by date."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import NamedTuple

from metabench.records import record as records
from metabench.records import run_folders
from metabench.records.record import Record
from metabench.records.rows import Finding, Row
from metabench.settings.errors import InvalidInput, unknown

RECORD = "record.json"  # that a command leaves in its folder


class Run(NamedTuple):
    """A run: its folder and its record."""

    folder: Path
    record: Record

    @property
    def date(self) -> datetime:
        """Local time at which the record was written."""
        return datetime.fromtimestamp((self.folder / RECORD).stat().st_mtime).astimezone()

    @property
    def command(self) -> str:
        """The command line, or how Python called it."""
        return str(self.record.provenance.get("command", ""))

    @property
    def findings(self) -> list[Finding]:
        """What the run found, as it said then."""
        return [
            Finding(
                found["name"], found["level"], found["state"], found["claim"], found["repair"],
                tuple(Row(**row) for row in found["evidence"]),
            )
            for found in self.record.whole["findings"] or ()
        ]  # fmt: skip


def past_runs() -> tuple[list[Run], list[str]]:
    """Return the runs in `metabench-runs`, the latest last, and a sentence for each damaged one."""
    found, broken = [], []
    for folder in sorted(_folders()):
        try:
            found.append(Run(folder, records.read(folder / RECORD)))
        except (InvalidInput, OSError) as error:
            broken.append(str(error))
    return sorted(found, key=lambda run: run.date), broken


def find_run(name: str) -> Run:
    """Return the run of a folder, of a part of its name, or of digits of its digest.

    Raises:
        InvalidInput: if there is none, there are several, or its record is damaged.
    """
    place = Path(name)
    if (place / RECORD).is_file():
        return Run(place, records.read(place / RECORD))
    folders = {folder.name: folder for folder in _folders()}
    hits = [each for each in folders if name in each]
    if not hits:
        raise unknown("run", name, folders, f" in {run_folders.RUNS}")
    if name not in hits and len(hits) > 1:
        raise InvalidInput(f"{len(hits)} runs have {name!r} in their name: {', '.join(hits)}.")
    folder = folders[name if name in hits else hits[0]]
    return Run(folder, records.read(folder / RECORD))


def is_run(name: str) -> bool:
    """Return whether a name is that of a run, or a part of one."""
    return (Path(name) / RECORD).is_file() or any(name in folder.name for folder in _folders())


def _folders() -> list[Path]:
    return [path.parent for path in run_folders.RUNS.glob(f"*/{RECORD}")]
