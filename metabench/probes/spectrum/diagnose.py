"""What the spectra say about the inner rate, in sentences with numbers and repairs."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from metabench.probes.spectrum.findings_density import shape
from metabench.probes.spectrum.findings_outer import beyond
from metabench.probes.spectrum.wording import number, rows_at
from metabench.probes.wording import percents
from metabench.records import number_format
from metabench.records.rows import LEVELS, Finding, Row, from_table

if TYPE_CHECKING:
    import pandas as pd

    from metabench.probes.spectrum import Spectrum

PLACES = {
    "start": "where the inner loop starts",
    "adapted": "where it ends",
    "preconditioned": "where it ends, with the Hessian as the step scales it",
}
MANY = 10  # inner steps from which on growth a step is called unstable


def diagnose(probe: Spectrum, table: pd.DataFrame) -> list[Finding]:
    """Make findings of one spectrum table, the weightiest first."""
    findings = [finding for place in PLACES for finding in _diverged(table, place)]
    edges = [finding for place in PLACES for finding in _edge(table, place)]
    past = [finding for finding in edges if finding.level != "info"]
    # where no place is past its edge, the one that allows the least says enough
    findings += past or sorted(edges, key=_room)[:1]
    findings += [finding for place in PLACES for finding in _negative(table, place)][:1]
    findings += [*_unsettled(table), *_no_steps(table), *beyond(table), *shape(table)]
    return sorted(findings, key=lambda finding: LEVELS.index(finding.level))


def _room(finding: Finding) -> float:
    """Order by the rate up to which most tasks, or half of them, are inside the edge."""
    rates = [row.value for row in finding.evidence if row.quantity == "stable_rate"]
    return min((rate for rate in rates if rate is not None), default=math.inf)


def _diverged(table: pd.DataFrame, place: str) -> list[Finding]:
    hit = from_table(table, "diverged", of=place)
    if not hit:
        return []
    what = "Hessians" if place == "start" else "inner loops"
    claim = (
        f"{percents(hit[0])} of {what} are not finite {PLACES[place]}, so their spectra there "
        "are withheld."
    )
    repair = (
        "Check theta and the tasks for NaN and infinity."
        if place == "start"
        else "Lower the inner rate (--set algo.step.rate=...) or take fewer inner steps."
    )
    return [Finding("diverged", "critical", claim, repair, tuple(hit))]


def _edge(table: pd.DataFrame, place: str) -> list[Finding]:
    shares = from_table(table, "past_edge", of=place)
    if not shares:
        return []
    (past,), (rate,), (edge,), (steps,) = (
        shares,
        *(from_table(table, name) for name in ("rate", "edge", "inner_steps")),
    )
    stable, growth = rows_at(table, "stable_rate", place), rows_at(table, "step_growth", place)
    half, most = stable[0.5], stable[0.95]
    if rate.value is None or edge.value is None or not rate.value:
        return []
    if half.value is None:
        claim = f"The inner loss has no curvature for half of the tasks {PLACES[place]}."
        repair = "Nothing to change: the curvature limits no rate there."
        return [Finding("no_curvature", "info", claim, repair, (past, half))]
    limits = f"half the tasks stay inside up to a rate of {number(half)}"
    limits += f", 95 % up to {number(most)}" if most.value is not None else ""
    evidence = tuple(row for row in (past, half, most, growth.get(0.5)) if row is not None)
    if past.low:
        claim = (
            f"At inner rate {rate.value:g}, {percents(past)} of tasks are past the edge "
            f"{number_format.number(edge.value)} / lambda_max {PLACES[place]}: {limits}."
            f"{_growth(growth, steps)}"
        )
        target = most if most.value is not None else half
        level = "critical" if past.low > 0.5 and (steps.value or 0) >= MANY else "warning"
        repair = (
            f"Lower the inner rate to about {0.9 * (target.low or target.value or 0):.2g} "
            f"(--set algo.step.rate=...), or clip the inner gradient, which bounds the growth."
        )
        return [Finding("past_edge", level, claim, repair, evidence)]
    claim = (
        f"At inner rate {rate.value:g}, {percents(past)} of tasks are past the edge "
        f"{number_format.number(edge.value)} / lambda_max {PLACES[place]}: {limits}."
    )
    room = (most.low or 0.0) / rate.value
    repair = (
        f"There is room: 95 % of tasks would stay inside at a rate {room:.2g} times larger."
        if room > 3
        else "Nothing to change."
    )
    return [Finding("inside_edge", "info", claim, repair, evidence)]


def _growth(growth: dict[float, Row], steps: Row) -> str:
    """Say what a step, and the whole loop, does to the direction that grows most."""
    most, K = growth.get(0.95), int(steps.value or 0)
    if most is None or most.value is None or K < 1:
        return ""
    text = f" In one task of twenty, a step stretches some direction {number(most)} times or more"
    whole = most.value**K if most.value < 1e30 else float("inf")
    if K >= MANY:
        return f"{text}: unstable over K = {K} steps."
    many = f"; K = {K} such steps, {number_format.number(whole)} times" if K > 1 else ""
    return f"{text}{many}."


def _negative(table: pd.DataFrame, place: str) -> list[Finding]:
    shares = from_table(table, "negative_curvature", of=place)
    if not shares or not (shares[0].low or 0.0) > 0.5:
        return []
    smallest = rows_at(table, "smallest_eigenvalue", place)[0.5]
    claim = (
        f"{percents(shares[0])} of inner losses curve down in some direction {PLACES[place]} "
        f"(median smallest eigenvalue {number(smallest)}): the meta-gradient grows along it at "
        "every inner step."
    )
    repair = (
        "Usual before training. An implicit meta-gradient needs a pull (--set algo.strength=...) "
        "above its size: conjugate gradients are invalid without."
    )
    return [Finding("negative_curvature", "info", claim, repair, (shares[0], smallest))]


def _no_steps(table: pd.DataFrame) -> list[Finding]:
    steps = from_table(table, "inner_steps")
    if not steps or steps[0].value:
        return []
    claim = "With K = 0 there is no inner step, so no rate is past an edge."
    repair = "Take inner steps (--set algo.steps=5), or read the curvature as that of the start."
    return [Finding("no_steps", "info", claim, repair, tuple(steps))]


def _unsettled(table: pd.DataFrame) -> list[Finding]:
    hit = from_table(table, "unsettled", of=None)
    if not hit:
        return []
    worst = max(hit, key=lambda row: row.value or 0.0)
    claim = (
        f"For {percents(worst)} of tasks the ends of the spectrum did not settle."
        if worst.low is not None
        else f"The ends of the {worst.of} Hessian's spectrum did not settle."
    )
    repair = "Allow more products (--set probe.steps=...) or a larger --set probe.tolerance."
    return [Finding("unsettled", "warning", claim, repair, tuple(hit))]
