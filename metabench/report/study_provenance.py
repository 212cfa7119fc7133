"""Provenance of a page: settings, sources, commands and machines."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any, NamedTuple

import metabench
from metabench.report.evidence import Evidence, missing
from metabench.report.labels import setting_text

if TYPE_CHECKING:
    import pandas as pd

MOST_COMMANDS_LISTED = 20


class StudyProvenance(NamedTuple):
    """Title, sources, commands and study file of a page."""

    title: str
    sources: tuple[str, ...] = ()  # as they were given
    commands: tuple[str, ...] = ()
    study: str = ""  # the study file's text


def common_settings(evidence: Evidence) -> list[tuple[str, Any]]:
    """List every setting with its values over all cells."""
    lines = []
    for name in evidence.settings:
        values = list(dict.fromkeys(setting_text(v) for v in evidence.cells[name]))
        known = [value for value in values if value]
        if not known:
            continue
        shown = ", ".join(known[:12]) + (f", .. ({len(known)} values)" if len(known) > 12 else "")
        lines.append((name, shown))
    return lines


def provenance_of(evidence: Evidence, about: StudyProvenance) -> list[tuple[str, Any]]:
    """List sources, commands, versions and machines; unknown ones are left out."""
    cells = evidence.cells
    own = list(dict.fromkeys(_present_values(cells["command"])))
    commands = dict.fromkeys([*own[:MOST_COMMANDS_LISTED], *about.commands])
    seconds = sum(map(float, _present_values(cells["seconds"])))
    lines = [
        ("sources", ", ".join(about.sources)),
        ("study digest", _digest(about.study)),
        ("cells digest", _digest(" ".join(sorted(_present_values(cells["digest"]))))),
        *(("commands", command) for command in commands),
        *((name.removeprefix("environment."), _values(cells[name]))
          for name in map(str, cells) if name.startswith("environment.")),
        ("total seconds", f"{seconds:.0f}" if seconds else ""),
        ("page made by", f"metabench {metabench.__version__}"),
    ]  # fmt: skip
    return [(name, text) for name, text in lines if text]


def _present_values(column: pd.Series[Any]) -> list[str]:
    """List the values that are not blank, as text."""
    return [str(value) for value in column if not missing(value) and value != ""]


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:12] if text else ""


def _values(column: pd.Series[Any]) -> str:
    """Write the values of a column, with the number of cells of each if they differ."""
    counts = column.map(setting_text).value_counts(sort=False)
    counts = counts[[value != "" for value in counts.index]]
    if len(counts) == 1:
        return str(counts.index[0])
    return "; ".join(f"{value} ({count} cells)" for value, count in counts.items())
