"""What the spectra say about the inner rate, in sentences with numbers and repairs."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from metabench.probes.spectrum.findings_density import shape
from metabench.probes.spectrum.findings_edge import edge
from metabench.probes.spectrum.findings_outer import beyond
from metabench.probes.spectrum.wording import PLACES, number, rows_at
from metabench.probes.wording import percents
from metabench.records.rows import LEVELS, Finding, from_table

if TYPE_CHECKING:
    import pandas as pd

    from metabench.probes.spectrum import Spectrum


def find(probe: Spectrum, table: pd.DataFrame) -> list[Finding]:
    """Make findings of one spectrum table, the weightiest first."""
    findings = [finding for place in PLACES for finding in _diverged(table, place)]
    edges = [finding for place in PLACES for finding in edge(table, place)]
    past = [finding for finding in edges if finding.level != "info"]
    # where no place is past its edge, the one that allows the least says enough
    findings += past or sorted(edges, key=_room)[:1]
    findings += [finding for place in PLACES for finding in _negative(table, place)][:1]
    findings += [*_not_converged(table), *_no_steps(table), *beyond(table), *shape(table)]
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
        else "Lower the inner rate (--set algo.inner_optimizer.rate=...) or take fewer inner steps."
    )
    return [Finding("diverged", "critical", "fault", claim, repair, tuple(hit))]


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
        "Usual before training. An implicit meta-gradient needs a pull (--set "
        "algo.proximal_strength=...) above its size: conjugate gradients are invalid without."
    )
    return [Finding("negative_curvature", "info", "", claim, repair, (shares[0], smallest))]


def _no_steps(table: pd.DataFrame) -> list[Finding]:
    steps = from_table(table, "inner_steps")
    if not steps or steps[0].value:
        return []
    claim = "With K = 0 there is no inner step, so no rate is past an edge."
    repair = "Take inner steps (--set algo.steps=5), or read the curvature as that of the start."
    return [Finding("no_steps", "info", "", claim, repair, tuple(steps))]


def _not_converged(table: pd.DataFrame) -> list[Finding]:
    hit = from_table(table, "not_converged", of=None)
    if not hit:
        return []
    worst = max(hit, key=lambda row: row.value or 0.0)
    claim = (
        f"For {percents(worst)} of tasks the ends of the spectrum did not settle."
        if worst.low is not None
        else f"The ends of the {worst.of} Hessian's spectrum did not settle."
    )
    repair = "Allow more products (--set probe.steps=...) or a larger --set probe.tolerance."
    return [Finding("not_converged", "warning", "not_looked_at", claim, repair, tuple(hit))]
