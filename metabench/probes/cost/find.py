"""Findings of the cost probe: the lowest error for a budget, break-even, memory and time."""

from __future__ import annotations

from typing import TYPE_CHECKING

from metabench.probes.cost import EXACT, UNROLL
from metabench.probes.cost.findings_error import against_exact, lowest
from metabench.probes.curves import by_method
from metabench.probes.not_finite_inputs import with_inputs
from metabench.probes.wording import number
from metabench.records.rows import LEVELS, Finding, Row, from_table

if TYPE_CHECKING:
    import pandas as pd

    from metabench.probes.cost import Cost


def find(probe: Cost, table: pd.DataFrame) -> list[Finding]:
    """Return the findings of one cost table, the most severe first."""
    seconds = from_table(table, "seconds", of=None)
    if [r.status for r in seconds] == ["withheld"]:
        claim = "Not computed: other algorithms can't be run on the inner loop of a black box."
        repair = "Measure one of metabench's algorithms on the same problem (--algo maml)."
        return [Finding("withheld", "info", "not_looked_at", claim, repair, tuple(seconds))]
    findings = [
        *_diverged(table),
        *lowest(table, probe.batch),
        *against_exact(table, probe.batch),
        *_memory(table),
        *_autograd(table),
    ]
    findings = with_inputs(table, findings)
    return sorted(findings, key=lambda finding: LEVELS.index(finding.level))


def _diverged(table: pd.DataFrame) -> list[Finding]:
    """Name the algorithms without an error because some meta-gradients are not finite."""
    lost = [r for r in from_table(table, "mse", of=None) if r.status == "diverged"]
    if not lost:
        return []
    names = ", ".join(r.of or EXACT for r in lost)
    claim = f"Some meta-gradients of {names} are not finite, so " + (
        "their errors are not computed."
        if lost[0].of
        else f"no errors are computed: all are relative to {EXACT}."
    )
    repair = "Lower the inner rate, or run `metabench explosion` to see where it diverges."
    return [Finding("diverged", "warning", "fault", claim, repair, tuple(lost))]


def _memory(table: pd.DataFrame) -> list[Finding]:
    """Report how the memory of the exact algorithm grows with K, and which algorithms stay flat."""
    memory = by_method(table, "bytes")
    if EXACT not in memory or len(memory[EXACT]) < 2:
        return []
    few, many = min(memory[EXACT]), max(memory[EXACT])

    def grown(name: str) -> float:
        return (memory[name][many].value or 0.0) / (
            memory[name].get(few, memory[name][many]).value or 1
        )

    flat = [
        name
        for name in memory
        if many in memory[name] and few in memory[name] and grown(name) < 1.1
    ]
    claim = (
        f"From K = {few:g} to {many:g} the memory of one task grows by a factor of "
        f"{number(grown(EXACT))} for {EXACT}"
        + (f", and by less than a factor of 1.1 for {', '.join(flat)}." if flat else ".")
    )
    repair = (
        "If memory is short, set algo.rematerialize=sqrt, which keeps only phi and the optimizer's "
        "state of each step."
    )
    rows = tuple(memory[name][k] for name in (EXACT, *flat) for k in (few, many))
    return [Finding("memory", "info", "", claim, repair, rows)]


def _autograd(table: pd.DataFrame) -> list[Finding]:
    seconds, memory = by_method(table, "seconds_by_k"), by_method(table, "bytes")
    if not (UNROLL in seconds and EXACT in seconds):
        return []
    K = max(seconds[EXACT])
    pair = [(s[EXACT][K], s[UNROLL][K]) for s in (seconds, memory)]
    (fast, slow), (small, large) = pair
    claim = (
        f"At K = {K:g}, {EXACT} takes {_ratio(fast, slow)} the seconds and "
        f"{_ratio(small, large)} the memory of plain autograd through the unroll, for the same "
        "meta-gradient."
    )
    return [Finding("compared_with_autograd", "info", "", claim, "", (fast, slow, small, large))]


def _ratio(one: Row, other: Row) -> str:
    """Return a ratio as text, with the interval that those of both rows give."""
    ratio = f"{number((one.value or 0) / (other.value or 1))}"
    if one.low and one.high and other.low and other.high:
        ratio += f" [{number(one.low / other.high)}, {number(one.high / other.low)}]"
    return f"{ratio} times"
