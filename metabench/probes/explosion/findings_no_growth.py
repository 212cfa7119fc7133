"""Findings where the meta-gradient neither explodes nor vanishes, or where that can't be told."""

from __future__ import annotations

import math
from itertools import combinations
from typing import TYPE_CHECKING

from metabench.probes.explosion.growth_summary import FINE_FACTOR, GrowthSummary
from metabench.probes.wording import number, percents
from metabench.records.rows import Finding, Row, from_table

if TYPE_CHECKING:
    import pandas as pd

FEWEST_TASKS = 6  # below which the median has no 95 % interval


def neither(found: GrowthSummary, against: list[str], tasks: int) -> Finding:
    """Return the finding of growth that is not shown to exceed tenfold.

    It is fine only if the interval of the factor over the steps lies within the margin and nothing
    else in the table speaks against that.

    Args:
        found: growth over K.
        against: what speaks against a steady meta-gradient, a sentence each.
        tasks: that were measured.
    """
    numbers = (
        f"in the median task its norm changes by {found.each}, {found.factor}, and "
        f"{found.ends}.{found.backward}"
    )
    if found.fine and not against:
        claim = f"The meta-gradient neither explodes nor vanishes: {numbers}"
        return Finding("growth", "info", "fine", claim, "", found.evidence)
    if found.moderate:
        way = "grows" if found.log_change[0] > 0 else "shrinks"
        claim = f"The meta-gradient {way} by less than a factor of 10: {numbers}"
        repair = (
            "Measure the K that you train with (--set probe.steps=...)."
            if math.inf > found.own > (found.last.at or 0)
            else ""
        )
        return Finding("growth", "info", "", " ".join([claim, *against]), repair, found.evidence)
    claim = (
        "The meta-gradient changes by less than a factor of 10, but whether it grows or shrinks "
        f"can't be told: {numbers}"
        if found.below_tenfold
        else f"Whether the meta-gradient explodes or vanishes can't be told: {numbers}"
    )
    if not found.fine:
        claim += (
            f" Only a factor between 1 / {FINE_FACTOR:g} and {FINE_FACTOR:g} counts as no change."
        )
        repair = _enough_tasks(found, tasks)
    else:
        repair = "First find the cause (see the other findings); more tasks would not decide it."
    return Finding(
        "growth", "info", "undecided", " ".join([claim, *against]), repair, found.evidence
    )


def _enough_tasks(found: GrowthSummary, tasks: int) -> str:
    """Return how many tasks make the interval half as wide as the margin, at this spread."""
    low, high = found.log_change
    count = tasks * ((high - low) / math.log(FINE_FACTOR)) ** 2
    if count <= tasks:
        return "More tasks hardly help: the factor lies at the limit of what counts as no change."
    text = f"About {number(float(f'{count:.2g}'))} tasks would decide it (--tasks)"
    if 1 < found.own < (found.last.at or 0):
        text += f", or measure only up to your K (--set probe.steps={found.own:.0f})"
    return f"{text}."


def doubts(table: pd.DataFrame, norms: list[Row]) -> list[str]:
    """Return what contradicts an unchanged meta-gradient: tasks that diverge, norms far apart."""
    found = []
    lost = [row for row in from_table(table, "diverged") if row.status == "diverged"]
    if lost:
        found.append(
            f"At K = {lost[-1].at:.0f} the meta-gradient of {percents(lost[-1])} of tasks is not "
            "finite."
        )
    pair = _farthest_norms([row for row in norms if (row.at or 0) >= 1])
    if pair:
        low, high = pair
        found.append(
            f"The median norms differ most between K = {low.at:.0f} ({number(low.value)}) and K = "
            f"{high.at:.0f} ({number(high.value)})."
        )
    return found


def _farthest_norms(norms: list[Row]) -> tuple[Row, Row] | None:
    """Return the two norms whose intervals lie farthest apart, if beyond the margin."""
    pairs = [
        sorted(pair, key=lambda row: row.value or 0.0)
        for pair in combinations(norms, 2)
        if all(row.low and row.high for row in pair)
    ]
    apart = {_ratio(a, b): (a, b) for a, b in pairs}
    widest = max(apart, default=0.0)
    return apart[widest] if widest > FINE_FACTOR else None


def _ratio(small: Row, large: Row) -> float:
    """Return the ratio of the nearer ends of two intervals."""
    return (large.low or 0.0) / (small.high or math.inf)


def without_interval(table: pd.DataFrame, tasks: int) -> list[Finding]:
    """Return the finding that growth can't be judged, where its interval is infinite."""
    rows = [row for row in from_table(table, "growth") if row.status in ("unbounded", "diverged")]
    if not rows:
        return []
    claim = "Whether the meta-gradient explodes or vanishes can't be told: the 95 % interval of "
    claim += f"its median growth over {tasks} tasks is unbounded."
    repair = (
        f"Measure more tasks (--tasks 128): with fewer than {FEWEST_TASKS} tasks the median has no "
        "finite interval."
        if tasks < FEWEST_TASKS
        else "Look for meta-gradients that are zero or not finite (see the other findings)."
    )
    return [Finding("growth", "info", "undecided", claim, repair, tuple(rows))]
