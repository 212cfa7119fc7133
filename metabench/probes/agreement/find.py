"""Findings of the agreement probe: the cheapest method, and the causes of its error."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from metabench.probes.agreement.findings_first_order import first_order
from metabench.probes.agreement.findings_reference import has_reference, minimum, saddles
from metabench.probes.agreement.findings_sampling_bias import of_sampling
from metabench.probes.curves import by_method
from metabench.probes.not_finite_inputs import with_inputs
from metabench.probes.wording import number, percents
from metabench.records.rows import LEVELS, Finding, Row, from_table

if TYPE_CHECKING:
    import pandas as pd

    from metabench.probes.agreement import Agreement

TARGETS = (0.01, 0.1)  # relative errors for which the cheapest method is named
LARGE_ERROR = 0.1  # of the best implicit method, above which it is a fault
IMPLICIT, FIRST_ORDER = {"imaml"}, {"fomaml"}  # algorithms that are such a method
REPAIRS = {  # by part of an implicit method's error
    "inner convergence": "Take more inner steps, a larger inner rate or a larger lambda "
    "(--set probe.proximal_strength=...); a better solver would not help.",
    "solver": "Give the solver more steps; more inner steps would not help.",
    "arithmetic": "Solve in float64 (--dtype float64).",
}


def find(probe: Agreement, table: pd.DataFrame) -> list[Finding]:
    """Return the findings of one agreement table, the most severe first."""
    errors = from_table(table, "error", of=None)
    if not errors and from_table(table, "sampling_bias", of=None):
        return of_sampling(table)
    if [r.status for r in errors] == ["withheld"]:
        claim = (
            "Not computed: a black box can't be run with another inner problem or another method."
        )
        repair = "Measure one of metabench's algorithms on the same problem (--algo imaml)."
        return [Finding("withheld", "info", "not_looked_at", claim, repair, tuple(errors))]
    findings = [
        *saddles(table),
        *minimum(table),
        *(_ranked(table) if has_reference(table) else []),
        *first_order(table),
        *_not_computed(table),
    ]
    findings = [_with_level_for_user(table, finding) for finding in findings]
    lost = [row for row in from_table(table, "diverged", of=None) if row.value]
    findings = [*_diverged(lost), *findings]
    findings = with_inputs(table, findings, max((row.value or 0.0 for row in lost), default=0.0))
    return sorted(findings, key=lambda finding: LEVELS.index(finding.level))


def _diverged(lost: list[Row]) -> list[Finding]:
    """Report the methods whose meta-gradients are not finite, the largest share first."""
    if not lost:
        return []
    worst = max(lost, key=lambda row: row.value or 0.0)
    methods = ", ".join(dict.fromkeys(row.of for row in lost))
    claim = (
        f"Some meta-gradients are not finite: of {_method_and_k(worst)}, those of "
        f"{percents(worst)} of tasks. These tasks count as the largest errors, and expected "
        f"gradients are not compared. Methods: {methods}."
    )
    repair = "Lower the inner rate (--set algo.inner_optimizer.rate=...) or take fewer inner steps."
    return [Finding("diverged", "critical", "fault", claim, repair, tuple(lost))]


def _not_computed(table: pd.DataFrame) -> list[Finding]:
    """Name the methods whose cosine and norm ratio are withheld, and why."""
    rows = [r for r in from_table(table, "cosine", of=None) if r.status == "withheld"]
    if not rows:
        return []
    lost: dict[str, list[str]] = {}
    for row in rows:
        lost.setdefault(row.of, []).append(number(row.at))
    by_steps: dict[str, list[str]] = {}
    for name, steps in sorted(lost.items()):
        by_steps.setdefault(", ".join(steps), []).append(name)
    each = "; ".join(f"{', '.join(names)} (K = {steps})" for steps, names in by_steps.items())
    claim = (
        "Cosine and norm ratio to the expected gradient at the inner minimum are not computed for "
        f"{each}. Both expectations need at least four tasks, gradients without heavy tails and a "
        "Hessian at the minimum that is positive definite in every task."
    )
    repair = "Raise lambda (--set probe.proximal_strength=...), or measure more tasks (--tasks)."
    return [Finding("not_computed", "info", "not_looked_at", claim, repair, tuple(rows))]


def _with_level_for_user(table: pd.DataFrame, finding: Finding) -> Finding:
    """Lower a warning about a method to information unless that method is in use.

    To whoever uses an implicit one, lambda is a setting of the algorithm: the probe takes it over.
    """
    own = {r.of for r in from_table(table, "own_steps", of=None)}
    if own & IMPLICIT:
        repair = finding.repair.replace("probe.proximal_strength", "algo.proximal_strength")
        finding = finding._replace(repair=repair)
    users = FIRST_ORDER if finding.name == "first_order" else IMPLICIT
    if not own or own & users:
        return finding
    return finding._replace(level="info", state="" if finding.state == "fault" else finding.state)


def _ranked(table: pd.DataFrame) -> list[Finding]:
    """Return the findings that rest on errors to the gradient at the inner minimum."""
    return [*_cheapest(table), *_causes(table)]


def _cheapest(table: pd.DataFrame) -> list[Finding]:
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
        f"in {unit} {_method_and_k(r)} ({_amount(costs[unit][r.of][int(r.at or 0)], unit)}, "
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
        f"(median over tasks); the closest is {_method_and_k(best)} with a relative error of "
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


def _causes(table: pd.DataFrame) -> list[Finding]:
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
        f"Implicit differentiation ({_method_and_k(best)}) has a relative error of "
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


def _method_and_k(line: Row) -> str:
    return f"{line.of} at K = {line.at:.0f}"


def _amount(line: Row, unit: str) -> str:
    value = line.value or 0.0
    if unit == "seconds":
        return f"{number(1e3 * value)} ms"
    return f"{number(value / 2**10)} KiB a task"
