"""What curvature and counting say of the inner rate."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from metabench.probes.wording import interval, number, percents
from metabench.records.rows import Finding, Row, from_table

if TYPE_CHECKING:
    import pandas as pd

UNSTABLE = 0.05  # share of tasks beyond which a rate is too large


def rates(table: pd.DataFrame) -> list[Finding]:
    """Say which share of tasks the inner rate is too large for, and which would be stable."""
    stable = {r.of: r for r in from_table(table, "stable_rate", of=None)}
    half, most = (_known(stable.get(f"{share} % of tasks")) for share in (50, 95))
    past = from_table(table, "past_edge", of="rate")
    if half is None or most is None or not past:
        return []
    rate = past[0].at or 0.0
    claim = (
        f"At inner rate {number(rate)}, {percents(past[0])} of tasks are past the edge of "
        f"stability at phi_0 (median threshold {number(half.value)} {interval(half)}); 95 % are "
        f"stable below {number(most.value)} {interval(most)}."
    )
    counts = from_table(table, "unstable", of="rate")
    seen = _seen(counts, rate, (most, half))
    if seen:
        said = ", ".join(f"{percents(r)} at {number(r.at)}" for r in seen.values())
        claim += f" Counted on held-out tasks, the support loss ends higher in {said}."
    evidence = (*past, half, most, *counts)
    share = seen.get(rate, past[0])
    if (share.low or 0.0) > UNSTABLE:
        repair = f"Lower the inner rate to {number(most.low or most.value)} or less."
        return [Finding("past_edge", "warning", "fault", claim, repair, evidence)]
    state = "fine" if share.high is not None and share.high <= UNSTABLE else "undecided"
    return [Finding("stable", "info", state, claim, "Nothing to change.", evidence)]


def _known(line: Row | None) -> Row | None:
    return line if line is not None and line.value is not None else None


def _seen(counts: list[Row], rate: float, lines: tuple[Row, ...]) -> dict[float | None, Row]:
    """Give the counts at one's own rate and next to each threshold, by their rate."""
    told = [r for r in counts if r.at == rate]
    if counts:
        told += [_nearest(counts, line.value or 1) for line in lines]
    return {r.at: r for r in told}


def _nearest(counts: list[Row], rate: float) -> Row:
    return min(counts, key=lambda r: abs(math.log((r.at or 1) / rate)))
