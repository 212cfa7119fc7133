"""Findings on the inner rate: share of tasks past the edge of stability, and stable rates."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from metabench.probes.wording import interval, number, percents, tasks_for_share
from metabench.records.rows import Finding, Row, from_table

if TYPE_CHECKING:
    import pandas as pd

UNSTABLE_SHARE = 0.05  # of tasks, above which a rate is too large


def rates(table: pd.DataFrame) -> list[Finding]:
    """Report the share of tasks for which the inner rate is too large, and the stable rates."""
    stable = {r.of: r for r in from_table(table, "stable_rate", of=None)}
    half, most = (_if_known(stable.get(f"{share} % of tasks")) for share in (50, 95))
    past = from_table(table, "past_edge", of="rate")
    if half is None or most is None or not past:
        return []
    rate = past[0].at or 0.0
    claim = (
        f"At inner rate {number(rate)}, {percents(past[0])} of tasks are past the edge of "
        f"stability at phi_0. By curvature, half of the tasks are stable below "
        f"{number(half.value)} {interval(half)}, and 95 % below {number(most.value)} "
        f"{interval(most)}."
    )
    counts = [r for r in from_table(table, "unstable", of="rate") if r.value is not None]
    counted = _counts_near(counts, rate, (most, half))
    if counted:
        each = ", ".join(f"{percents(r)} at rate {number(r.at)}" for r in counted.values())
        claim += (
            " After the loop, the support loss is above its start in this share of other tasks: "
            f"{each}."
        )
    evidence = (*past, half, most, *counts)
    share = counted.get(rate, past[0])
    if (share.low or 0.0) > UNSTABLE_SHARE:
        repair = (
            f"Lower the inner rate below {number(most.low or most.value)}, the edge of stability "
            "(--set algo.inner_optimizer.rate=...)."
        )
        return [Finding("inner_rate_unstable", "warning", "fault", claim, repair, evidence)]
    return [_not_past_edge(table, claim, share, evidence)]


def _not_past_edge(
    table: pd.DataFrame, claim: str, share: Row, evidence: tuple[Row, ...]
) -> Finding:
    """Return the finding of a rate that is stable, or of which that can't be told.

    Args:
        table: a measured table.
        claim: the numbers.
        share: of unstable tasks.
        evidence: rows of the finding.
    """
    if any(row.status == "diverged" for row in from_table(table, "diverged")):
        claim += " It is not called stable, because some meta-gradients are not finite."
        repair = "First find out why they are not finite."
    elif share.high is not None and share.high <= UNSTABLE_SHARE:
        return Finding("inner_rate_stable", "info", "fine", claim, "", evidence)
    else:
        claim += (
            f" Whether more than {100 * UNSTABLE_SHARE:.0f} % of tasks are unstable can't be told."
        )
        repair = f"Measure more tasks (--tasks {tasks_for_share(share, UNSTABLE_SHARE)})."
    return Finding("inner_rate_stable", "info", "undecided", claim, repair, evidence)


def _if_known(line: Row | None) -> Row | None:
    return line if line is not None and line.value is not None else None


def _counts_near(
    counts: list[Row], rate: float, thresholds: tuple[Row, ...]
) -> dict[float | None, Row]:
    """Return the counts at the inner rate and nearest to each threshold, by rate."""
    near = [r for r in counts if r.at == rate]
    if counts:
        near += [_nearest(counts, line.value or 1) for line in thresholds]
    return {r.at: r for r in near}


def _nearest(counts: list[Row], rate: float) -> Row:
    return min(counts, key=lambda r: abs(math.log((r.at or 1) / rate)))
