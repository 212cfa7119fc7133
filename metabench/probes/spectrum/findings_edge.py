"""Findings about the inner rate: for how many tasks it is past the edge of stability."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from metabench.probes.spectrum.wording import PLACES, number, rows_at
from metabench.probes.wording import percents, tasks_for_share
from metabench.records import number_format
from metabench.records.rows import Finding, Row, from_table

if TYPE_CHECKING:
    import pandas as pd

UNSTABLE_SHARE = 0.05  # of tasks past the edge, up to which a rate is fine
FEWEST_STEPS_UNSTABLE = 10  # inner steps from which on growth at each step is called unstable


def edge(table: pd.DataFrame, place: str) -> list[Finding]:
    """Return findings that compare the inner rate with the edge of stability at one place."""
    if not from_table(table, "past_edge", of=place):
        return []
    (rate,), (limit,) = (from_table(table, name) for name in ("rate", "edge"))
    if limit.value is None or not rate.value:
        return []
    found = _InnerRate.from_table(table, place, rate.value, limit.value)
    if found.half.value is None:
        claim = f"The inner loss of half of the tasks has no positive curvature {PLACES[place]}."
        claim += " There the curvature limits no inner rate."
        return [Finding("no_curvature", "info", "", claim, "", (found.past, found.half))]
    (steps,) = from_table(table, "inner_steps")
    if (found.past.low or 0.0) > UNSTABLE_SHARE:
        return [_past(found, steps, fit(table, place))]
    return [_inside(found)]


def fit(table: pd.DataFrame, place: str) -> bool:
    """Return whether rates may be taken from the curvature at a place.

    That at the end of loops which diverged, or raised the loss, is of a point that no smaller rate
    would reach.
    """
    reached = [] if place == "start" else from_table(table, "loss_rose", of="adapted")
    return not any(row.value for row in (*reached, *from_table(table, "diverged", of=place)))


class _InnerRate(NamedTuple):
    """An inner rate, and the rates that the curvature at a place allows."""

    place: str
    rate: float
    edge: float
    past: Row  # the share of tasks past the edge
    half: Row  # the rate below which half of the tasks are inside
    most: Row  # and 95 % of them
    growth: dict[float, Row]  # of the direction that a step stretches most, over tasks

    @classmethod
    def from_table(cls, table: pd.DataFrame, place: str, rate: float, edge: float) -> _InnerRate:
        """Return the rates in a table."""
        (past,) = from_table(table, "past_edge", of=place)
        stable, growth = (rows_at(table, name, place) for name in ("stable_rate", "step_growth"))
        return cls(place, rate, edge, past, stable[0.5], stable[0.95], growth)

    @property
    def claim(self) -> str:
        """The share of tasks past the edge, and below which rates tasks are stable."""
        limits = f"Half of the tasks are stable below rate {number(self.half)}"
        limits += f", 95 % below {number(self.most)}" if self.most.value is not None else ""
        return (
            f"Inner rate {self.rate:g} is past the edge of stability, "
            f"{number_format.number(self.edge)} / largest eigenvalue, for {percents(self.past)} of "
            f"tasks {PLACES[self.place]}. {limits}."
        )

    @property
    def evidence(self) -> tuple[Row, ...]:
        """The rows that the claim is based on."""
        rows = (self.past, self.half, self.most, self.growth.get(0.5))
        return tuple(row for row in rows if row is not None)


def _past(found: _InnerRate, steps: Row, fit: bool) -> Finding:
    """Return the finding of a rate past the edge, with the growth and, if fit, a stable rate."""
    target = found.half if found.most.value is None else found.most
    rate = 0.9 * (target.low or target.value or 0.0)
    to = f"Lower the inner rate to about {rate:.2g} (--set algo.inner_optimizer.rate=...)"
    if not (fit and rate):
        to = (
            "Lower the inner rate (--set algo.inner_optimizer.rate=...) and measure again: some "
            "loops end where they diverge or above their first loss, and the curvature there tells "
            "no stable rate"
        )
    repair = f"{to}; or clip the inner gradient, which bounds the growth."
    grown = (found.past.low or 0) > 0.5 and (steps.value or 0) >= FEWEST_STEPS_UNSTABLE
    claim = found.claim + _growth(found.growth, steps)
    level = "critical" if grown else "warning"
    return Finding("inner_rate_unstable", level, "fault", claim, repair, found.evidence)


def _inside(found: _InnerRate) -> Finding:
    """Return the finding of a rate inside the edge, with the margin up to it."""
    margin = (found.most.low or 0.0) / found.rate
    fine = margin > 1 and found.past.high is not None and found.past.high <= UNSTABLE_SHARE
    repair = ""
    if not fine:
        count = tasks_for_share(found.past, UNSTABLE_SHARE)
        repair = f"Measure more tasks (--tasks {count}): more than 5 % of them may be past it."
    elif margin > 3:
        repair = (
            f"A larger inner rate is possible: 95 % of tasks stay stable at a rate {margin:.2g} "
            "times larger."
        )
    state = "fine" if fine else "undecided"
    return Finding("inner_rate_stable", "info", state, found.claim, repair, found.evidence)


def _growth(growth: dict[float, Row], steps: Row) -> str:
    """Return a sentence on the growth of the fastest-growing direction, or an empty string."""
    most, K = growth.get(0.95), int(steps.value or 0)
    if most is None or most.value is None or K < 1:
        return ""
    text = (
        " In 5 % of tasks, each step stretches some direction by a factor of "
        f"{number(most)} or more"
    )
    whole = most.value**K if most.value < 1e30 else float("inf")
    if K >= FEWEST_STEPS_UNSTABLE:
        return f"{text}, unstable over K = {K} steps."
    many = f"; K = {K} steps, by {number_format.number(whole)}" if K > 1 else ""
    return f"{text}{many}."
