"""Findings about the outer loop, the adaptation map and the linear solve of implicit gradients."""

from __future__ import annotations

from typing import TYPE_CHECKING

from metabench.probes.spectrum.findings_edge import fit
from metabench.probes.spectrum.wording import number, rows_at
from metabench.probes.wording import percents
from metabench.records import number_format
from metabench.records.rows import Finding, Row, from_table

if TYPE_CHECKING:
    import pandas as pd

LARGE_SINGULAR_VALUE = 10.0  # from which on the meta-gradient is called at risk
UNDECIDED = "Measure more tasks (--tasks): the interval includes the limit."
SOLVED = 1e-2  # a relative residual below which a solve is called converged


def beyond(table: pd.DataFrame) -> list[Finding]:
    """Return findings on the stable outer rate, the adaptation map and the convergence of CG."""
    return [*_outer(table), *_map(table), *_solve(table)]


def _outer(table: pd.DataFrame) -> list[Finding]:
    stable = from_table(table, "stable_outer_rate")
    top = from_table(table, "largest_eigenvalue", of="meta")
    if not stable or not top or stable[0].value is None:
        return []
    (limit,), rate = stable, from_table(table, "outer_rate")
    evidence = (limit, top[0], *from_table(table, "smallest_eigenvalue", of="meta"), *rate)
    base = (
        f"The meta-Hessian's largest eigenvalue is {number(top[0])}, so plain outer gradient "
        f"descent (not Adam) is stable below a rate of {number(limit)} here"
    )
    if not rate or not rate[0].value:
        repair = (
            "To judge your outer rate, set it: --set probe.outer_rate=0.01. Weight decay w adds w "
            "to every eigenvalue."
        )
        return [Finding("outer_rate", "info", "", f"{base}.", repair, evidence)]
    beta = rate[0].value
    if limit.high is not None and beta > limit.high:
        claim = f"{base}; the outer rate {beta:g} is above that."
        repair = f"Lower the outer rate below {limit.low or limit.value:.2g}, or warm it up."
        return [Finding("outer_rate_unstable", "warning", "fault", claim, repair, evidence)]
    inside = beta < (limit.low or 0.0)
    claim = f"{base}; the outer rate {beta:g} is {'below' if inside else 'too close to'} that."
    repair = "" if inside else "Measure more tasks (--set probe.meta=...)."
    return [
        Finding("outer_rate", "info", "fine" if inside else "undecided", claim, repair, evidence)
    ]


def _map(table: pd.DataFrame) -> list[Finding]:
    found = rows_at(table, "largest_singular_value", "map")
    if not found or found[0.5].value is None:
        return []
    half = found[0.5]
    claim = (
        "The Jacobian d phi_K / d theta of adaptation has a largest singular value of "
        f"{number(half)} in the median task: a meta-gradient through all inner steps is at most "
        "that many times as large as the query gradient."
    )
    if (half.low or 0.0) > LARGE_SINGULAR_VALUE:
        repair = (
            "Lower the inner rate (--set algo.inner_optimizer.rate=...) or take fewer inner steps."
        )
        return [
            Finding("adaptation_jacobian", "warning", "fault", claim, repair, tuple(found.values()))
        ]
    state = "fine" if half.high is not None and half.high <= LARGE_SINGULAR_VALUE else "undecided"
    repair = UNDECIDED if state == "undecided" else ""
    return [Finding("adaptation_jacobian", "info", state, claim, repair, tuple(found.values()))]


def _solve(table: pd.DataFrame) -> list[Finding]:
    last = {row.of: row for row in from_table(table, "residual", of=None)}
    if not last:
        return []
    down = from_table(table, "negative_curvature", of="adapted")
    lowest = rows_at(table, "smallest_eigenvalue", "adapted").get(0.05)
    if down and down[0].low and lowest is not None and lowest.value is not None:
        return [_indefinite(down[0], lowest, fit(table, "adapted"))]
    measured, bound = last["measured"], last["bound"]
    if measured.value is None:
        return []
    steps = max(int(r.at or 0) for r in from_table(table, "cg_residual", of="measured"))
    claim = (
        f"After {steps} steps of conjugate gradients, the relative residual is {number(measured)} "
        f"in the median task; its bound from the condition number is {_bound(bound)}."
    )
    evidence = (measured, bound, *rows_at(table, "condition_number", "adapted").values())
    if (measured.low or 0.0) > SOLVED:
        repair = (
            "Take more solver steps (--set algo.solver.steps=...), or raise the proximal strength "
            "(--set algo.proximal_strength=...)."
        )
        return [Finding("unsolved", "warning", "fault", claim, repair, evidence)]
    state = "fine" if measured.high is not None and measured.high <= SOLVED else "undecided"
    repair = UNDECIDED if state == "undecided" else ""
    return [Finding("solved", "info", state, claim, repair, evidence)]


def _indefinite(down: Row, lowest: Row, fit_end: bool) -> Finding:
    """Return the finding of a linear solve with negative curvature.

    Args:
        down: share of tasks with negative curvature.
        lowest: the 5 % quantile of the smallest eigenvalue.
        fit_end: whether the loops ended where a strength can be read off.
    """
    claim = (
        f"{percents(down)} of inner objectives have negative curvature at phi_K, where CG is not "
        f"valid; in 5 % of tasks the smallest eigenvalue is below {number(lowest)}."
    )
    by = f" by {1.2 * -(lowest.low or lowest.value or 0.0):.2g}" if fit_end else ""
    repair = (
        f"Raise the proximal strength{by} (--set algo.proximal_strength=...), or take more inner "
        "steps."
    )
    return Finding("indefinite", "warning", "fault", claim, repair, (down, lowest))


def _bound(row: Row) -> str:
    return "none" if row.value is None or row.value >= 1 else number_format.number(row.value)
