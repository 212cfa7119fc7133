"""Findings about the inner rate: which tasks are past the edge that their curvature sets."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from metabench.probes.spectrum.wording import PLACES, number, rows_at
from metabench.probes.wording import percents
from metabench.records import number_format
from metabench.records.rows import Finding, Row, from_table

if TYPE_CHECKING:
    import pandas as pd

MANY = 10  # inner steps from which on growth a step is called unstable


def edge(table: pd.DataFrame, place: str) -> list[Finding]:
    """Hold the inner rate against what the curvature of a place allows."""
    if not from_table(table, "past_edge", of=place):
        return []
    (rate,), (limit,) = (from_table(table, name) for name in ("rate", "edge"))
    if limit.value is None or not rate.value:
        return []
    seen = _Seen.of(table, place, rate.value, limit.value)
    if seen.half.value is None:
        claim = f"The inner loss has no curvature for half of the tasks {PLACES[place]}."
        repair = "Nothing to change: the curvature limits no rate there."
        return [Finding("no_curvature", "info", "", claim, repair, (seen.past, seen.half))]
    (steps,) = from_table(table, "inner_steps")
    return [_past(seen, steps) if seen.past.low else _inside(seen)]


class _Seen(NamedTuple):
    """An inner rate, and the rates that the curvature of a place allows."""

    place: str
    rate: float
    edge: float
    past: Row  # the share of tasks past the edge
    half: Row  # the rate up to which half of the tasks are inside
    most: Row  # and 95 % of them
    growth: dict[float, Row]  # of the direction that a step stretches most, over tasks

    @classmethod
    def of(cls, table: pd.DataFrame, place: str, rate: float, edge: float) -> _Seen:
        """Read it off a table."""
        (past,) = from_table(table, "past_edge", of=place)
        stable, growth = (rows_at(table, name, place) for name in ("stable_rate", "step_growth"))
        return cls(place, rate, edge, past, stable[0.5], stable[0.95], growth)

    @property
    def claim(self) -> str:
        """How many tasks are past the edge, and what rates would be inside."""
        limits = f"half the tasks stay inside up to a rate of {number(self.half)}"
        limits += f", 95 % up to {number(self.most)}" if self.most.value is not None else ""
        return (
            f"At inner rate {self.rate:g}, {percents(self.past)} of tasks are past the edge "
            f"{number_format.number(self.edge)} / lambda_max {PLACES[self.place]}: {limits}."
        )

    @property
    def evidence(self) -> tuple[Row, ...]:
        """The rows that this rests on."""
        rows = (self.past, self.half, self.most, self.growth.get(0.5))
        return tuple(row for row in rows if row is not None)


def _past(seen: _Seen, steps: Row) -> Finding:
    """Say what being past the edge does, and which rate would not be."""
    target = seen.half if seen.most.value is None else seen.most
    repair = (
        f"Lower the inner rate to about {0.9 * (target.low or target.value or 0):.2g} "
        "(--set algo.inner_optimizer.rate=...), or clip the inner gradient, which bounds the "
        "growth."
    )
    grown = (seen.past.low or 0) > 0.5 and (steps.value or 0) >= MANY
    claim = seen.claim + _growth(seen.growth, steps)
    level = "critical" if grown else "warning"
    return Finding("past_edge", level, "fault", claim, repair, seen.evidence)


def _inside(seen: _Seen) -> Finding:
    """Say how much room there is up to the edge."""
    room = (seen.most.low or 0.0) / seen.rate
    repair = (
        f"There is room: 95 % of tasks would stay inside at a rate {room:.2g} times larger."
        if room > 3
        else "Nothing to change."
    )
    return Finding(
        "inside_edge",
        "info",
        "fine" if room > 1 else "undecided",
        seen.claim,
        repair,
        seen.evidence,
    )


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
