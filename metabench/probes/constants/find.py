"""Findings of the constants: violated assumptions, and how loose each bound is."""

from __future__ import annotations

from typing import TYPE_CHECKING

from metabench.probes.constants.findings_bounds import (
    floor_findings,
    iteration_findings,
    moment_findings,
    smoothness_findings,
)
from metabench.probes.constants.rates import rate_findings
from metabench.probes.not_finite_inputs import with_inputs
from metabench.probes.wording import number, percents
from metabench.records.rows import LEVELS, Finding, Row, from_table

if TYPE_CHECKING:
    import pandas as pd

    from metabench.probes.constants import Constants

BLACK_BOX = "an algorithm that exposes its inner loop"
START = "theta is where adaptation starts"
REPAIRS = {
    "K = 1": "--set algo.steps=1",
    "plain inner descent": "--set algo.inner_optimizer=sgd without clipping or learned rates",
    START: "a problem in which theta is the initial phi",
    "MAML's own gradient": "--algo maml, with whole support sets",
    "alpha L <= 1/6": "a smaller --set algo.inner_optimizer.rate=...",
    "a Lipschitz Hessian": "smooth activations (tanh, softplus) instead of ReLU and max pooling",
    "D_h >= 2 alpha^2 sigma_H^2": "more support examples or a smaller inner rate",
}
WHY = {
    "a Lipschitz Hessian": "the Hessian jumps at kinks, so rho is infinite",
    "a Hessian of independent examples": "MAML takes it on the support set of the inner step",
}
PLACES = {
    "start": "at the start of the inner loop",
    "one step": "after one inner step",
    "adapted": "at the end of the inner loop",
}


def find(probe: Constants, table: pd.DataFrame) -> list[Finding]:
    """Return the findings of one table of constants, the worst first."""
    findings = [
        *_divergence(table),
        *_not_computed(table),
        *_assumptions(table),
        *moment_findings(table),
        *smoothness_findings(table),
        *iteration_findings(table),
        *floor_findings(table),
        *rate_findings(table),
        *_over_budget(table),
    ]
    findings = with_inputs(table, findings)
    return sorted(findings, key=lambda finding: LEVELS.index(finding.level))


def _over_budget(table: pd.DataFrame) -> list[Finding]:
    """Return a remark on fewer tasks or a coarser tolerance, where the budget required them."""
    reduced = {r.of: r for r in from_table(table, "reduced", of=None)}
    counts = {r.of: r for r in from_table(table, "tasks", of=None)}
    if not reduced:
        return []
    claims = []
    if "sets" in reduced:
        claims.append(
            f"moments use {number(counts[''].value)} tasks with {number(reduced['sets'].value)} "
            f"sets each, and Hessians {number(counts['Hessians'].value)} tasks"
        )
    if "tolerance" in reduced:
        coarse = number(100 * (reduced["tolerance"].value or 0.0))
        claims.append(f"extreme eigenvalues are computed only to {coarse} % of the largest")
    claim = f"To stay within the budget of operations, {'; '.join(claims)}."
    repair = "For narrower intervals, allow more operations (--set probe.budget=1e12)."
    return [Finding("reduced", "info", "", claim, repair, (*counts.values(), *reduced.values()))]


def _divergence(table: pd.DataFrame) -> list[Finding]:
    hits = from_table(table, "diverged", of=None)
    if not hits:
        lost = [r for r in from_table(table, "first_moment", of=None) if r.status == "diverged"]
        if not lost:
            return []
        claim = f"The meta-gradient is not finite at inner rate {number(lost[0].at)}."
        return [
            Finding("diverged", "critical", "fault", claim, "Lower the inner rate.", tuple(lost))
        ]
    worst = hits[0]
    claim = f"The Hessian is not finite for {percents(worst)} of tasks {PLACES[worst.of]}."
    repair = (
        "Check theta and the tasks for NaN and infinity."
        if worst.of == "start"
        else "Lower the inner rate (--set algo.inner_optimizer.rate=...) or take fewer inner steps."
    )
    return [Finding("diverged", "critical", "fault", claim, repair, tuple(hits))]


def _not_computed(table: pd.DataFrame) -> list[Finding]:
    """Return findings on what few tasks, missing redraws or fused norms leave uncomputed."""
    rows = [r for r in from_table(table, "gradient_variance", of=None) if r.status != "ok"]
    states = {row.status for row in rows}
    made = []
    if "unresolved" in states:
        claim = "Variances are not computed: they need at least three tasks."
        made.append(
            Finding(
                "few_tasks",
                "info",
                "not_looked_at",
                claim,
                "Measure more tasks (--tasks 256).",
                tuple(rows),
            )
        )
    if "not_redrawable" in states:
        claim = (
            "Variances over sets and both moment bounds are not computed: the sampler can't redraw "
            "the support and query set of a task. L and rho are those of the given sets."
        )
        repair = "Use a sampler that takes (address, seed)."
        made.append(Finding("no_redraws", "info", "not_looked_at", claim, repair, tuple(rows)))
    lost = [r for r in from_table(table, "smoothness", of="measured") if r.status == "withheld"]
    if lost:
        claim = (
            "The meta-Hessian is not computed: it needs third derivatives, which torch gets wrong "
            "in fused norm layers."
        )
        repair = "Replace the norms by plain operations: net = metabench.safe_norms(net)."
        made.append(
            Finding("no_third_derivative", "info", "not_looked_at", claim, repair, tuple(lost))
        )
    flat = [r for r in from_table(table, "slack", of=None) if r.status == "degenerate"]
    if flat:
        claim = (
            "Every meta-gradient is exactly zero, so every bound holds trivially, and its ratio to "
            "the measured value is undefined."
        )
        repair = "Check that the query loss depends on theta (metabench verify)."
        made.append(Finding("zero", "warning", "fault", claim, repair, tuple(flat)))
    return made


def _assumptions(table: pd.DataFrame) -> list[Finding]:
    """Return the finding on which assumptions of the theory are violated."""
    rows = from_table(table, "assumption", of=None)
    violated = [row for row in rows if row.status == "violated"]
    avoidable = [row for row in violated if row.of in REPAIRS]
    if any(row.of == BLACK_BOX for row in violated):
        claim = (
            "The theory's bounds are not computed: the inner rate and steps of a black box are "
            "unknown. Only the constants of the problem's losses are reported."
        )
        repair = "Measure one of metabench's algorithms on the same problem (--algo maml)."
        return [Finding("withheld", "info", "not_looked_at", claim, repair, tuple(rows))]
    if not rows:
        return []
    if not avoidable:
        claim = (
            "One assumption of the theory is violated: the Hessian is taken on the support set of "
            "the inner step, where the bounds need an independent set. No other assumption that "
            "can be checked at theta is refuted."
        )
        return [Finding("covered", "info", "undecided", claim, "", tuple(rows))]
    names = "; ".join(_assumption_text(row) for row in violated)
    claim = f"The convergence theory doesn't cover this setting. Violated assumptions: {names}."
    if any(row.of == START for row in avoidable):
        claim += " The theory's bounds are not computed."
    repair = f"To come closer to it, use: {'; '.join(REPAIRS[row.of] for row in avoidable)}."
    return [Finding("not_covered", "info", "", claim, repair, tuple(violated))]


def _assumption_text(row: Row) -> str:
    if row.of in WHY:
        return f"{row.of} ({WHY[row.of]})"
    return row.of if row.value is None else f"{row.of} (here {number(row.value)})"
