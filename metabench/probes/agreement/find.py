"""What the agreement table says: who is cheapest, what the error is made of, what to change."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from metabench.probes.curves import by_method
from metabench.probes.wording import interval, number, percents
from metabench.records.rows import LEVELS, Finding, Row, from_table

if TYPE_CHECKING:
    import pandas as pd

    from metabench.probes.agreement import Agreement

TARGETS = (0.01, 0.1)  # relative errors that a budget is named for
LARGE = 0.1  # an error that is warned of
ALONG = 0.9  # a cosine below which a method is warned of
IMPLICIT, FIRST = {"imaml"}, {"fomaml"}  # algorithms that are such a method
LESSENED = {  # the parts of an implicit method's error, and what makes each smaller
    "inner convergence": "Take more inner steps, a larger inner rate or a stronger pull; a better "
    "solver would buy nothing.",
    "solver": "Give the solver more steps; more inner steps would buy nothing.",
    "arithmetic": "Solve in float64 (--dtype float64).",
}


def find(probe: Agreement, table: pd.DataFrame) -> list[Finding]:
    """Make findings of one agreement table, the weightiest first."""
    errors = from_table(table, "error", of=None)
    if [r.status for r in errors] == ["withheld"]:
        claim = "Withheld: a black box can't be run on another inner problem or by another method."
        repair = "Measure one of metabench's algorithms on the same problem (--algo imaml)."
        return [Finding("withheld", "info", "not_looked_at", claim, repair, tuple(errors))]
    findings = [
        *_saddles(table),
        *_minimum(table),
        *_cheapest(table),
        *_causes(table),
        *_first_order(table),
        *_untold(table),
    ]
    findings = [_heeded(table, finding) for finding in findings]
    return sorted(findings, key=lambda finding: LEVELS.index(finding.level))


def _untold(table: pd.DataFrame) -> list[Finding]:
    """Say of whose expected gradients there is no angle, and why."""
    rows = [r for r in from_table(table, "cosine", of=None) if r.status == "withheld"]
    if not rows:
        return []
    names = ", ".join(sorted({r.of for r in rows}))
    claim = (
        f"Withheld: angles and ratios to the expected gradient of some of {names}, which may not "
        "exist: there are fewer than four tasks, a tail without second moments, or an inverse of "
        "Hessians that curve down in some tasks."
    )
    repair = (
        "Raise lambda (--set probe.proximal_strength=...), or read each task's error, which is "
        "told."
    )
    return [Finding("not_computed", "info", "not_looked_at", claim, repair, tuple(rows))]


def _heeded(table: pd.DataFrame, finding: Finding) -> Finding:
    """Warn of a method only whoever trains with it; to others its faults are told."""
    own = {r.of for r in from_table(table, "own_steps", of=None)}
    users = FIRST if finding.name == "first_order" else IMPLICIT
    if not own or own & users:
        return finding
    return finding._replace(level="info", state="" if finding.state == "fault" else finding.state)


def _saddles(table: pd.DataFrame) -> list[Finding]:
    hits = [r for r in from_table(table, "saddles") if (r.low or 0) > 0]
    if not hits:
        return []
    last = hits[-1]
    least = min(r.value or 0 for r in from_table(table, "least_curvature"))
    (pull,) = from_table(table, "proximal_strength")
    claim = (
        f"At lambda = {number(pull.value)} the inner objective curves down at phi_{last.at:.0f} in "
        f"{percents(last)} of tasks (least curvature met {number(least)}): no minimum is there, "
        "and an implicit gradient is that of no argmin."
    )
    above = number((pull.value or 0) - least)
    repair = f"Raise lambda above {above} (--set probe.proximal_strength=...)."
    return [Finding("saddles", "warning", "fault", claim, repair, (*hits, pull))]


def _minimum(table: pd.DataFrame) -> list[Finding]:
    (found,) = from_table(table, "minimum_found")
    (slope,) = from_table(table, "gradient_norm_at_minimum")
    if found.high is None or found.high >= 1.0:
        return []
    claim = (
        f"The inner minimum was found in {percents(found)} of tasks only (median |grad G| / |g| "
        f"{number(slope.value)}): errors against it are lower bounds of what they say."
    )
    repair = "Raise --set probe.minimum_steps=... or lambda (--set probe.proximal_strength=...)."
    return [Finding("minimum_not_found", "warning", "fault", claim, repair, (found, slope))]


def _cheapest(table: pd.DataFrame) -> list[Finding]:
    """Name the cheapest cell whose error's whole interval is within each target."""
    errors = [row for rows in by_method(table, "error").values() for row in rows.values()]
    costs = {unit: by_method(table, unit) for unit in ("seconds", "bytes")}
    made = []
    for target in TARGETS:
        good = [row for row in errors if row.high is not None and row.high <= target]
        made += [_least_paid(target, good, costs)] if good else _closest(target, errors)
    return made


def _least_paid(
    target: float, good: list[Row], costs: dict[str, dict[str, dict[float, Row]]]
) -> Finding:
    picks = {unit: min(good, key=partial(_cost, costs[unit])) for unit in costs}
    said = " and ".join(
        f"{_named(r)} in {unit} ({_amount(costs[unit][r.of][int(r.at or 0)], unit)}, "
        f"error {percents(r)})"
        for unit, r in picks.items()
    )
    claim = f"Within {target:.0%} of the gradient at the inner minimum, cheapest is {said}."
    repair = "Use it if that accuracy does."
    return Finding(f"cheapest_{target:g}", "info", "fine", claim, repair, tuple(picks.values()))


def _closest(target: float, errors: list[Row]) -> list[Finding]:
    known = [row for row in errors if row.value is not None]
    if not known:
        return []
    best = min(known, key=lambda r: r.value or 0)
    claim = (
        f"No method is surely within {target:.0%} of the gradient at the inner minimum; "
        f"the closest is {_named(best)} with {percents(best)}."
    )
    repair = "Take more inner steps, a larger inner rate or a stronger pull."
    return [Finding(f"cheapest_{target:g}", "info", "undecided", claim, repair, (best,))]


def _causes(table: pd.DataFrame) -> list[Finding]:
    """Name what makes most of the error of the best implicit method at the largest K."""
    parts = {(r.of, r.at): r for r in from_table(table, "error_part", of=None)}
    last = [lines[max(lines)] for lines in by_method(table, "error").values()]
    implicit = [r for r in last if (f"{r.of}: solver", r.at) in parts and r.value is not None]
    if not implicit:
        return []
    best = min(implicit, key=lambda r: r.value or 0)
    own = {part: parts[f"{best.of}: {part}", best.at] for part in LESSENED}
    cause = _foremost(own)
    if cause is None:
        return []
    said = ", ".join(f"{p} {percents(r)}" for p, r in own.items())
    claim = f"{_named(best)} is off the gradient at the minimum by {percents(best)}: {said}."
    level, state = ("warning", "fault") if (best.low or 0) > LARGE else ("info", "undecided")
    if best.high is not None and best.high <= LARGE:
        state = "fine"
    return [Finding("cause", level, state, claim, LESSENED[cause], (best, *own.values()))]


def _foremost(parts: dict[str, Row]) -> str | None:
    """Name the part whose interval lies above those of all others, if all are known."""
    if any(r.value is None for r in parts.values()):
        return None
    first = max(parts, key=lambda p: parts[p].value or 0)
    rest = max((r.high or 0) for p, r in parts.items() if p != first)
    return first if (parts[first].low or 0) > rest else None


def _first_order(table: pd.DataFrame) -> list[Finding]:
    cosines = by_method(table, "cosine_unrolled").get("fomaml", {})
    known = [r for r in cosines.values() if r.low is not None and r.high is not None]
    if not known:
        return []
    worst = min(known, key=lambda r: r.value or 1)
    errors = by_method(table, "error_unrolled")["fomaml"]
    claim = (
        f"First order's cosine to the unrolled mean meta-gradient is {number(worst.value)} "
        f"{interval(worst)} at K = {worst.at:.0f}; its median task is off by "
        f"{percents(errors[int(worst.at or 0)])}."
    )
    bad = (worst.high or 1) < ALONG
    state = "fault" if bad else "fine" if (worst.low or 0) > ALONG else "undecided"
    repair = "Use the unroll, or an implicit gradient, at this K." if bad else "Nothing to change."
    return [Finding("first_order", "warning" if bad else "info", state, claim, repair, (worst,))]


def _cost(costs: dict[str, dict[float, Row]], line: Row) -> float:
    return costs[line.of][int(line.at or 0)].value or 0.0


def _named(line: Row) -> str:
    return f"{line.of} at K = {line.at:.0f}"


def _amount(line: Row, unit: str) -> str:
    value = line.value or 0.0
    if unit == "seconds":
        return f"{number(1e3 * value)} ms"
    return f"{number(value / 2**10)} KiB a task"
