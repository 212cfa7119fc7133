"""What the probes say of many cells: alike findings together, the weightiest first."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

from metabench.probes.base import Drawing, Probe
from metabench.records.rows import LEVELS, Finding
from metabench.report.evidence import Evidence, missing, plain
from metabench.report.stored_settings import reader

if TYPE_CHECKING:
    import pandas as pd

MOST = 400  # cells that are diagnosed, evenly chosen among all
TOLD = 40  # cells of one finding that are told one by one


class FindingGroup(NamedTuple):
    """A finding as it was met in several cells: the first of them speaks for all."""

    probe: str
    finding: Finding
    cell: int  # whose claim is told in full
    others: tuple[tuple[int, str], ...]  # (cell, claim)
    of: int  # diagnosed cells of this probe


class Diagnosis(NamedTuple):
    """The findings, and what reads and draws each cell."""

    told: list[FindingGroup]
    probes: dict[int, Probe]  # cell -> its probe
    tables: dict[int, pd.DataFrame]  # cell -> its tidy table
    notes: list[str]


def findings_of_cells(evidence: Evidence) -> Diagnosis:
    """Ask each cell's probe for findings; a cell whose probe can't say is a note, no failure."""
    made = Diagnosis([], {}, {}, [])
    chosen = _chosen(evidence)
    if len(chosen) < evidence.rows["cell"].nunique():
        total = f"{evidence.rows['cell'].nunique():,}"
        made.notes.append(
            f"Findings and figures are of {len(chosen):,} cells, evenly chosen among {total}."
        )
    groups: dict[tuple[int, str, str], list[tuple[int, Finding]]] = {}
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
        for finding in asked(probe, table, made.notes):
            level = LEVELS.index(finding.level) if finding.level in LEVELS else len(LEVELS)
            groups.setdefault((level, name, finding.name), []).append((cell, finding))
    order = sorted(groups, key=lambda key: (key[0], -len(groups[key]) / counts[key[1]]))
    for key in order:
        (cell, finding), *rest = groups[key]
        others = tuple((other, found.claim) for other, found in rest)
        made.told.append(FindingGroup(key[1], finding, cell, others, counts[key[1]]))
    made.notes[:] = dict.fromkeys(made.notes)
    return made


def asked(probe: Probe, table: pd.DataFrame, notes: list[str]) -> list[Finding]:
    """Give the findings of one table, those of the checks that ran ahead of it among them."""
    from metabench.probes.verify import Verify

    found = attempt(lambda: probe.find(table), probe, "diagnose", notes) or []
    if not isinstance(probe, Verify) and (table["quantity"] == "check").any():
        found = [*found, *(attempt(lambda: Verify().find(table), probe, "check", notes) or [])]
    return found


def drawings(probe: Probe, table: pd.DataFrame, notes: list[str]) -> list[Drawing]:
    """Give the figures of one table."""
    return attempt(lambda: probe.drawings(table), probe, "draw", notes) or []


def attempt(call: Callable[[], Any], probe: object, what: str, notes: list[str]) -> Any:
    """Call a probe, ours or a stranger's; if it raises on an odd table the page says so instead."""
    try:
        return call()
    except Exception as error:  # a page of many cells must not be lost to one
        name = type(probe).__name__.lower()
        notes.append(f"{name} could not {what} a table: {type(error).__name__}: {error}")
        return None


def _chosen(evidence: Evidence) -> list[int]:
    cells = [int(cell) for cell in sorted(evidence.rows["cell"].unique())]
    if len(cells) <= MOST:
        return cells
    return [cells[i * len(cells) // MOST] for i in range(MOST)]
