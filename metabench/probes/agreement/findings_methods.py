"""Findings on methods by error and cost: the cheapest, and the cause of an error."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from metabench.probes.curves import by_method
from metabench.probes.wording import number, percents
from metabench.records.rows import Finding, Row, from_table

if TYPE_CHECKING:
    import pandas as pd


TARGETS = (0.01, 0.1)  # relative errors for which the cheapest method is named
REPAIRS = {  # by part of an implicit method's error
    "inner convergence": "Take more inner steps, a larger inner rate or a larger lambda "
    "(--set probe.proximal_strength=...); a better solver would not help.",
    "solver": "Give the solver more steps; more inner steps would not help.",
    "arithmetic": "Solve in float64 (--dtype float64).",
}
LARGE_ERROR = 0.1  # of the best implicit method, above which it is a fault


def cheapest_findings(table: pd.DataFrame) -> list[Finding]:
    """Name the cheapest method and K whose error is within each target, interval included."""
    errors = [row for rows in by_method(table, "error").values() for row in rows.values()]
    costs = {unit: by_method(table, unit) for unit in ("seconds", "bytes")}
    made, missed = [], []
    for target in TARGETS:
        good = [row for row in errors if row.high is not None and row.high <= target]
        if good:
            made.append(_cheapest_within(target, good, costs))
        else:
            missed.append(target)
    return [*made, *(_closest(max(missed), errors) if missed else [])]


def _cheapest_within(
    target: float, good: list[Row], costs: dict[str, dict[str, dict[float, Row]]]
) -> Finding:
    picks = {unit: min(good, key=partial(_cost_of, costs[unit])) for unit in costs}
    each = ", ".join(
        f"in {unit} {method_and_k(r)} ({_amount(costs[unit][r.of][int(r.at or 0)], unit)}, "
        f"error {percents(r)})"
        for unit, r in picks.items()
    )
    claim = (
        f"Of the methods within {100 * target:g} % of the gradient at the inner minimum, the "
        f"cheapest per task is: {each}."
    )
    repair = "Use it if this accuracy is enough."
    return Finding(
        f"cheapest_within_{100 * target:g}_percent",
        "info",
        "fine",
        claim,
        repair,
        tuple(picks.values()),
    )


def _closest(target: float, errors: list[Row]) -> list[Finding]:
    known = [row for row in errors if row.value is not None]
    if not known:
        return []
    best = min(known, key=lambda r: r.value or 0)
    claim = (
        f"No method is shown to be within {100 * target:g} % of the gradient at the inner minimum "
        f"(median over tasks); the closest is {method_and_k(best)} with a relative error of "
        f"{percents(best)}."
    )
    repair = (
        "Take more inner steps, a larger inner rate or a larger lambda "
        "(--set probe.proximal_strength=...)."
    )
    return [
        Finding(
            f"cheapest_within_{100 * target:g}_percent", "info", "undecided", claim, repair, (best,)
        )
    ]


def cause_findings(table: pd.DataFrame) -> list[Finding]:
    """Name the largest part of the error of the best implicit method at the largest K."""
    parts = {(r.of, r.at): r for r in from_table(table, "error_part", of=None)}
    last = [lines[max(lines)] for lines in by_method(table, "error").values()]
    implicit = [r for r in last if (f"{r.of}: solver", r.at) in parts and r.value is not None]
    if not implicit:
        return []
    best = min(implicit, key=lambda r: r.value or 0)
    by_part = {part: parts[f"{best.of}: {part}", best.at] for part in REPAIRS}
    cause = _dominant_part(by_part)
    if cause is None:
        return []
    each = ", ".join(f"{p} {percents(r)}" for p, r in by_part.items())
    claim = (
        f"Implicit differentiation ({method_and_k(best)}) has a relative error of "
        f"{percents(best)} with respect to the gradient at the inner minimum. By cause: {each}."
    )
    level, state = ("warning", "fault") if (best.low or 0) > LARGE_ERROR else ("info", "undecided")
    if best.high is not None and best.high <= LARGE_ERROR:
        state = "fine"
    return [
        Finding("cause_of_error", level, state, claim, REPAIRS[cause], (best, *by_part.values()))
    ]


def _dominant_part(parts: dict[str, Row]) -> str | None:
    """Return the part whose interval lies above all others, or None."""
    if any(r.value is None for r in parts.values()):
        return None
    first = max(parts, key=lambda p: parts[p].value or 0)
    rest = max((r.high or 0) for p, r in parts.items() if p != first)
    return first if (parts[first].low or 0) > rest else None


def _cost_of(costs: dict[str, dict[float, Row]], line: Row) -> float:
    return costs[line.of][int(line.at or 0)].value or 0.0


def _amount(line: Row, unit: str) -> str:
    value = line.value or 0.0
    if unit == "seconds":
        return f"{number(1e3 * value)} ms"
    return f"{number(value / 2**10)} KiB a task"


def method_and_k(line: Row) -> str:
    """Write a row's method with its number of inner steps."""
    return f"{line.of} at K = {line.at:.0f}"
