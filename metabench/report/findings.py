"""Findings of many cells, grouped by name and state and sorted by level."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

from metabench.probes.base import Drawing, Probe
from metabench.records.rows import LEVELS, Finding
from metabench.report.evidence import Evidence, missing, plain
from metabench.report.stored_settings import reader

if TYPE_CHECKING:
    import pandas as pd

MOST_CELLS_DIAGNOSED = 400  # evenly chosen among all
MOST_CELLS_LISTED = 40  # of one finding


class FindingGroup(NamedTuple):
    """A finding that several cells have in one state, with the claim of the first in full."""

    probe: str
    finding: Finding
    cell: int  # the first cell, whose claim is shown
    others: tuple[tuple[int, str], ...]  # (cell, claim)
    of: int  # number of diagnosed cells of this probe


class Diagnosis(NamedTuple):
    """Findings of all cells, with the probe and table of each cell."""

    groups: list[FindingGroup]
    probes: dict[int, Probe]  # cell -> its probe
    tables: dict[int, pd.DataFrame]  # cell -> its tidy table
    notes: list[str]


def findings_of_cells(evidence: Evidence) -> Diagnosis:
    """Collect the findings of each cell from its probe; what a probe raises becomes a note."""
    made = Diagnosis([], {}, {}, [])
    chosen = _chosen(evidence)
    if len(chosen) < evidence.rows["cell"].nunique():
        total = f"{evidence.rows['cell'].nunique():,}"
        made.notes.append(
            f"Findings and figures are based on {len(chosen):,} of {total} cells, evenly chosen."
        )
    groups: dict[tuple[int, str, str, str], list[tuple[int, Finding]]] = {}
    counts: dict[str, int] = {}
    fields = [name for name in evidence.settings if name.partition(".")[0] == "probe"]
    probes = evidence.cells[fields].to_dict("index")
    for cell, table in evidence.tables(chosen):
        own = {str(k): plain(v) for k, v in probes[cell].items() if not missing(v)}
        probe, note = reader(own, evidence.trusted)
        if note:
            made.notes.append(note)
        made.probes[cell], made.tables[cell] = probe, table
        name = str(own.get("probe", ""))
        counts[name] = counts.get(name, 0) + 1
        for finding in findings_of(probe, table, made.notes):
            level = LEVELS.index(finding.level) if finding.level in LEVELS else len(LEVELS)
            groups.setdefault((level, name, finding.name, finding.state), []).append(
                (cell, finding)
            )
    order = sorted(groups, key=lambda key: (key[0], -len(groups[key]) / counts[key[1]]))
    for key in order:
        (cell, finding), *rest = groups[key]
        others = tuple((other, found.claim) for other, found in rest)
        made.groups.append(FindingGroup(key[1], finding, cell, others, counts[key[1]]))
    made.notes[:] = dict.fromkeys(made.notes)
    return made


def findings_of(probe: Probe, table: pd.DataFrame, notes: list[str]) -> list[Finding]:
    """Return the findings of one table, including those of the checks that preceded it.

    Args:
        probe: the probe that measured the table.
        table: its tidy table.
        notes: receives a sentence if the probe raises.
    """
    from metabench.probes.verify import Verify

    found = attempt(lambda: probe.find(table), probe, "diagnose", notes) or []
    if not isinstance(probe, Verify) and (table["quantity"] == "check").any():
        found = [*found, *(attempt(lambda: Verify().find(table), probe, "check", notes) or [])]
    return found


def drawings(probe: Probe, table: pd.DataFrame, notes: list[str]) -> list[Drawing]:
    """Return the drawings of one table.

    Args:
        probe: the probe that measured the table.
        table: its tidy table.
        notes: receives a sentence if the probe raises.
    """
    return attempt(lambda: probe.drawings(table), probe, "draw", notes) or []


def attempt(call: Callable[[], Any], probe: object, what: str, notes: list[str]) -> Any:
    """Return the result of a call to a probe, or None with a note if it raises.

    Args:
        call: what to call.
        probe: the probe, which the note names.
        what: a verb for the note, such as "draw".
        notes: receives the sentence.
    """
    try:
        return call()
    except Exception as error:  # a page of many cells must not be lost to one
        name = type(probe).__name__.lower()
        notes.append(f"The probe {name} failed to {what} a table: {type(error).__name__}: {error}")
        return None


def _chosen(evidence: Evidence) -> list[int]:
    cells = [int(cell) for cell in sorted(evidence.rows["cell"].unique())]
    if len(cells) <= MOST_CELLS_DIAGNOSED:
        return cells
    return [cells[i * len(cells) // MOST_CELLS_DIAGNOSED] for i in range(MOST_CELLS_DIAGNOSED)]
