"""Findings of the agreement probe: the cheapest method, and the causes of its error."""

from __future__ import annotations

from typing import TYPE_CHECKING

from metabench.probes.agreement.findings_first_order import first_order
from metabench.probes.agreement.findings_methods import (
    cause_findings,
    cheapest_findings,
    method_and_k,
)
from metabench.probes.agreement.findings_reference import has_reference, minimum, saddles
from metabench.probes.agreement.findings_sampling_bias import of_sampling
from metabench.probes.not_finite_inputs import with_inputs
from metabench.probes.wording import number, percents
from metabench.records.rows import LEVELS, Finding, Row, from_table

if TYPE_CHECKING:
    import pandas as pd

    from metabench.probes.agreement import Agreement

IMPLICIT, FIRST_ORDER = {"imaml"}, {"fomaml"}  # algorithms that are such a method


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
        f"Some meta-gradients are not finite: of {method_and_k(worst)}, those of "
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
    return [*cheapest_findings(table), *cause_findings(table)]
