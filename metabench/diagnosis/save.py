"""The files of a checkup: a record a part, and one page, table and record of the whole."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from metabench.diagnosis.checkup import TRIAL, Checkup
from metabench.diagnosis.parts import Part
from metabench.diagnosis.trial.diagnose import shown
from metabench.records import record_files
from metabench.records.rows import Row, flatten, to_table
from metabench.report.figures import MOST, Gallery, hooks
from metabench.report.findings import drawings
from metabench.report.page import Content, intervals, numbered, rendered, telling
from metabench.report.text_tables import Table, TextTable, details, tables

if TYPE_CHECKING:
    import pandas as pd

QUESTION = "What is wrong with this meta-gradient, and what should be changed?"


class Folder:
    """Keeps each part as the record of a run, which `metabench report` reads."""

    def __init__(self, folder: Path, provenance: Mapping[str, Any]) -> None:
        """Keep parts under a folder."""
        self.folder, self._provenance = folder, provenance

    def path(self, name: str) -> Path:
        """Give where a part of this name is kept."""
        return self.folder / name / "record.json"

    def find(self, name: str) -> tuple[dict[str, Any], tuple[Row, ...], float] | None:
        """Give spec, rows and seconds of a part, None if it isn't there or isn't whole."""
        try:
            held = record_files.read(self.path(name))
            return held.spec, held.rows, float(held.provenance["seconds"])
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def keep(self, name: str, part: Part) -> None:
        """Write the part's record."""
        self.path(name).parent.mkdir(parents=True, exist_ok=True)
        made = {**self._provenance, "seconds": round(part.seconds, 3)}
        text = record_files.record(part.settings, part.rows, part.findings, made)
        record_files.write(self.path(name), text + "\n")


def record(found: Checkup, settings: Mapping[str, Any], made: Mapping[str, Any]) -> str:
    """Give the whole as one strict JSON object; the numbers are in the records of its parts."""
    findings = [
        {
            **record_files.plain(each.finding),
            "probe": each.probe,
            "cause": each.cause,
            "confirmed": each.confirmed,
        }
        for each in found.told
    ]
    parts = [
        {"probe": part.name, "seconds": round(part.seconds, 3), "note": part.note,
         "settings": part.settings["probe"]}
        for part in _parts(found)
    ]  # fmt: skip
    rows = found.trial.rows if found.trial else ()
    result = {
        "spec": settings,
        "rows": [row._asdict() for row in rows],
        "findings": findings,
        "parts": parts,
        "notes": list(found.notes),
        "provenance": made,
    }
    return record_files.strict_json(result)


def table(found: Checkup) -> pd.DataFrame:
    """Lay all parts out as one tidy table, which a report can be made of anywhere."""
    import pandas as pd

    made = [to_table(part.rows, part.settings) for part in _parts(found) if part.rows]
    return pd.concat(made, ignore_index=True)


def trials(found: Checkup) -> TextTable | None:
    """Lay out what was tried."""
    if found.trial is None or not found.trial.rows:
        return None
    return shown(to_table(found.trial.rows), found.because)


def page(found: Checkup, settings: Mapping[str, Any], made: Mapping[str, Any]) -> str:
    """Give the page, as HTML text: faults first, then what was tried, then the rest."""
    notes = list(found.notes)
    gallery = Gallery(MOST, notes)
    parts = [part for part in _parts(found) if part.rows]
    laid = {part.name: to_table(part.rows) for part in parts}
    hung = {
        part.name: hooks(i, drawings(part.cell.probe, laid[part.name], notes), laid[part.name], "")
        for i, part in enumerate(parts)
    }
    said = [
        telling(gallery, each.finding, hung.get(each.probe, ()))._replace(
            by=each.probe, often="confirmed on fresh tasks" if each.confirmed else ""
        )
        for each in found.told
    ]
    texts = [
        (part.name, [*tables(laid[part.name], part.cell.probe),
                     *details(laid[part.name], part.cell.probe)])
        for part in parts if part.name != TRIAL
    ]  # fmt: skip
    tried = trials(found)
    probes = [(part.name, part.cell.probe) for part in parts]
    names = f"{settings['algo']['name']} on {settings['family']['name']}"
    seconds = sum(part.seconds for part in parts)
    return rendered(
        Content(
            title=f"metabench diagnose: {names}",
            question=QUESTION,
            summary=f"{len(parts)} parts measured in {seconds:.0f} s.",
            notes=notes,
            said=said,
            changes=[Table("changes", "", tried)] if tried else [],
            figures=[shown for drawn in hung.values() for shown in gallery.rest(drawn)],
            numbers=[numbered(name, i, text) for name, made in texts for i, text in
                     enumerate(made, 1)],
            spec=list(flatten(settings)),
            provenance=list(flatten(made)),
            intervals=intervals(probes, seeds=False),
        )
    )  # fmt: skip


def _parts(found: Checkup) -> list[Part]:
    return [*found.parts, *([found.trial] if found.trial else [])]
