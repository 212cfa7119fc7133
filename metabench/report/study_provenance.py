"""Where does a page's evidence come from? Settings, sources, commands, machines."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any, NamedTuple

import metabench
from metabench.report.evidence import Evidence, missing
from metabench.report.labels import said

if TYPE_CHECKING:
    import pandas as pd

COMMANDS = 20  # of cells that were measured by hand, most that are listed


class StudyProvenance(NamedTuple):
    """Where the evidence comes from."""

    title: str
    sources: tuple[str, ...] = ()  # as they were given
    commands: tuple[str, ...] = ()
    study: str = ""  # the study file's text


def common_settings(evidence: Evidence) -> list[tuple[str, Any]]:
    """List the settings that all cells share, and the values of those that they don't."""
    lines = []
    for name in evidence.settings:
        values = list(dict.fromkeys(said(v) for v in evidence.cells[name]))
        known = [value for value in values if value]
        if not known:
            continue
        shown = ", ".join(known[:12]) + (f", .. ({len(known)} values)" if len(known) > 12 else "")
        lines.append((name, shown))
    return lines


def provenance_of(evidence: Evidence, about: StudyProvenance) -> list[tuple[str, Any]]:
    """List where the numbers come from; what isn't known has no line."""
    cells = evidence.cells
    own = list(dict.fromkeys(_there(cells["command"])))
    commands = dict.fromkeys([*own[:COMMANDS], *about.commands])
    seconds = sum(map(float, _there(cells["seconds"])))
    lines = [
        ("sources", ", ".join(about.sources)),
        ("study digest", _digest(about.study)),
        ("cells digest", _digest(" ".join(sorted(_there(cells["digest"]))))),
        *(("commands", command) for command in commands),
        *((name.removeprefix("environment."), _values(cells[name]))
          for name in map(str, cells) if name.startswith("environment.")),
        ("seconds in all", f"{seconds:.0f}" if seconds else ""),
        ("page made by", f"metabench {metabench.__version__}"),
    ]  # fmt: skip
    return [(name, text) for name, text in lines if text]


def _there(column: pd.Series[Any]) -> list[str]:
    """List the values that are there, as text."""
    return [str(value) for value in column if not missing(value) and value != ""]


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:12] if text else ""


def _values(column: pd.Series[Any]) -> str:
    """List the values of a column, with how many cells have each where they differ."""
    counts = column.map(said).value_counts(sort=False)
    counts = counts[[value != "" for value in counts.index]]
    if len(counts) == 1:
        return str(counts.index[0])
    return "; ".join(f"{value} ({count} cells)" for value, count in counts.items())
