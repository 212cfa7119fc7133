"""Findings of the spectra: stability of the inner and outer rate, and how curvature is spread."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from metabench.probes.not_finite_inputs import with_inputs
from metabench.probes.spectrum.findings_density import shape
from metabench.probes.spectrum.findings_edge import edge, fit
from metabench.probes.spectrum.findings_outer import beyond
from metabench.probes.spectrum.wording import HESSIANS, PLACES, number, rows_at
from metabench.probes.wording import percents
from metabench.records.rows import LEVELS, Finding, from_table

if TYPE_CHECKING:
    import pandas as pd

    from metabench.probes.spectrum import Spectrum


def find(probe: Spectrum, table: pd.DataFrame) -> list[Finding]:
    """Return the findings of one spectrum table, the worst first."""
    findings = [finding for place in PLACES for finding in _divergence(table, place)]
    edges = [finding for place in PLACES for finding in edge(table, place)]
    past = [finding for finding in edges if finding.level != "info"]
    if len(past) > 1 and not fit(table, "adapted"):  # what loops past their edge at the start reach
        past = past[:1]
    # where no place is past its edge, report only the one with the smallest stable rate
    findings += past or sorted(edges, key=_smallest_stable_rate)[:1]
    findings += [finding for place in PLACES for finding in _negative(table, place)][:1]
    findings += [*_not_converged(table), *_no_steps(table), *beyond(table), *shape(table)]
    lost = [row.value or 0.0 for row in from_table(table, "diverged", of="start")]
    grown = from_table(table, "diverged", of="adapted")
    # tasks that are lost at the start are not counted at the end: what diverges there is the loop's
    findings = with_inputs(table, findings, 1.0 if grown else max(lost, default=0.0))
    return sorted(findings, key=lambda finding: LEVELS.index(finding.level))


def _smallest_stable_rate(finding: Finding) -> float:
    """Return the smallest rate up to which 95 %, or half, of the tasks are stable."""
    rates = [row.value for row in finding.evidence if row.quantity == "stable_rate"]
    return min((rate for rate in rates if rate is not None), default=math.inf)


def _divergence(table: pd.DataFrame, place: str) -> list[Finding]:
    hit = from_table(table, "diverged", of=place)
    if not hit:
        return []
    what = "Hessians" if place == "start" else "inner loops"
    claim = (
        f"{percents(hit[0])} of {what} are not finite {PLACES[place]}, so traces and densities "
        "are not computed there."
    )
    repair = (
        "Check theta and the tasks for NaN and infinity."
        if place == "start"
        else "Lower the inner rate (--set algo.inner_optimizer.rate=...) or take fewer inner steps."
    )
    return [Finding("diverged", "critical", "fault", claim, repair, tuple(hit))]


def _negative(table: pd.DataFrame, place: str) -> list[Finding]:
    """Report negative curvature in most tasks; an implicit gradient's is judged with its solve."""
    implicit = bool(from_table(table, "residual", of=None))
    shares = from_table(table, "negative_curvature", of=place)
    if not shares or not (shares[0].low or 0.0) > 0.5:
        return []
    smallest = rows_at(table, "smallest_eigenvalue", place)[0.5]
    claim = (
        f"{percents(shares[0])} of inner {'objectives' if implicit else 'losses'} have negative "
        f"curvature {PLACES[place]} (median smallest eigenvalue {number(smallest)}), which is "
        "usual before training."
    )
    repair = ""
    if not implicit:
        claim += " Along these directions inner iterates move apart at every step."
        repair = "To see whether the meta-gradient grows with them, run `metabench explosion`."
    return [Finding("negative_curvature", "info", "", claim, repair, (shares[0], smallest))]


def _no_steps(table: pd.DataFrame) -> list[Finding]:
    steps = from_table(table, "inner_steps")
    if not steps or steps[0].value:
        return []
    claim = "With K = 0 there is no inner step, so the inner rate has no edge of stability."
    repair = (
        "Take inner steps (--set algo.steps=5). The curvature is that at the start of the loop."
    )
    return [Finding("no_steps", "info", "", claim, repair, tuple(steps))]


def _not_converged(table: pd.DataFrame) -> list[Finding]:
    hit = from_table(table, "not_converged", of=None)
    if not hit:
        return []
    worst = max(hit, key=lambda row: row.value or 0.0)
    claim = (
        f"The extreme eigenvalues did not converge for {percents(worst)} of tasks."
        if worst.low is not None
        else f"The extreme eigenvalues of the {HESSIANS.get(worst.of, worst.of)} did not converge."
    )
    repair = (
        "Allow more Hessian products (--set probe.steps=...) or a larger tolerance (--set "
        "probe.tolerance=...)."
    )
    return [Finding("not_converged", "warning", "not_looked_at", claim, repair, tuple(hit))]
