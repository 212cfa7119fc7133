"""Files of a checkup: one record per part, one table and one record of the whole."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from metabench.diagnosis.checkup import Checkup
from metabench.diagnosis.parts import Part
from metabench.diagnosis.trial.find import change_table
from metabench.records import record as records
from metabench.records import run_folders
from metabench.records.rows import Row, to_table
from metabench.report.text_tables import TextTable

if TYPE_CHECKING:
    import pandas as pd


class Folder:
    """Folder that stores each part as a record, which `metabench report` reads."""

    def __init__(self, folder: Path, provenance: Mapping[str, Any]) -> None:
        """Store parts under a folder."""
        self.folder, self._provenance = folder, provenance

    def path(self, name: str) -> Path:
        """Return the path of the part of this name."""
        return self.folder / name / "record.json"

    def find(self, name: str) -> tuple[dict[str, Any], tuple[Row, ...], float] | None:
        """Return spec, rows and seconds of a part, None if it is missing or damaged."""
        try:
            held = records.read(self.path(name))
            return held.spec, held.rows, float(held.whole["seconds"])
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def keep(self, name: str, part: Part) -> None:
        """Write the part's record."""
        self.path(name).parent.mkdir(parents=True, exist_ok=True)
        more = {"seconds": round(part.seconds, 3)}
        made = records.compose(part.settings, part.rows, part.findings, self._provenance, more)
        run_folders.write(self.path(name), records.text(made) + "\n")


def record(found: Checkup, settings: Mapping[str, Any], made: Mapping[str, Any]) -> str:
    """Return the checkup's record as strict JSON; the numbers are in the records of its parts.

    Args:
        found: the checkup.
        settings: its settings, as plain JSON values.
        made: provenance of the run.
    """
    findings = [
        {
            **records.plain(each.finding),
            "probe": each.probe,
            "cause": each.cause,
            "confirmed": each.confirmed,
        }
        for each in found.ordered_findings
    ]
    parts = [
        {"probe": part.name, "seconds": round(part.seconds, 3), "note": part.note,
         "settings": part.settings["probe"]}
        for part in found.everything
    ]  # fmt: skip
    rows = found.trial.rows if found.trial else ()
    more = {"coverage": found.coverage, "parts": parts, "notes": list(found.notes)}
    return records.text(records.compose(settings, rows, findings, made, more))


def table(found: Checkup) -> pd.DataFrame:
    """Return all parts as one tidy table, from which a report can be made."""
    import pandas as pd

    made = [to_table(part.rows, part.settings) for part in found.everything if part.rows]
    if not made:
        return to_table(())
    return pd.concat(made, ignore_index=True)


def trials(found: Checkup) -> TextTable | None:
    """Return the table of the trials, None if there are none."""
    if found.trial is None or not found.trial.rows:
        return None
    return change_table(to_table(found.trial.rows), found.because)
