"""Findings about what the outer loop makes of the noise: clipping, and the optimizer's update."""

from __future__ import annotations

from metabench.probes.wording import interval, number, percents
from metabench.records.rows import Finding, Row, Rows, from_table


def outer(table: Rows, batch: int) -> list[Finding]:
    """Say whether clipping pays at the B you train with, and how the update's noise falls."""
    return [*_clipping(table, batch), *_update(table)]


def _clipping(table: Rows, batch: int) -> list[Finding]:
    """Say how many batches are clipped, and what that does to the meta-gradient's error."""
    share = _at(table, "clipped_share", batch)
    before, after = _at(table, "variance", batch), _at(table, "clipped_variance", batch)
    bias, error = _at(table, "clipping_bias", batch), _at(table, "clipped_error", batch)
    if share is None or before is None or after is None or after.low is None:
        return []
    claim = f"The outer loop clips {percents(share)} of batches of {share.at:.0f} tasks"
    evidence = tuple(r for r in (share, before, after, bias, error) if r is not None)
    if not share.value:
        claim += ": its limit does nothing at this batch."
        return [Finding("clipping", "info", "", claim, "Nothing to change.", evidence)]
    if before.low is None or before.high is None:
        claim += f". Unclipped there is no variance; clipped it is {number(after.value)} "
        claim += f"{interval(after)}."
        return [Finding("clipping", "info", "", claim, "Keep the limit.", evidence)]
    if bias is None or error is None or error.low is None or error.high is None:
        return []
    claim += (
        f": their variance of {number(before.value)} {interval(before)} becomes "
        f"{number(after.value)} {interval(after)}, and a squared bias of {number(bias.value)} "
        f"{interval(bias)} comes on top."
    )
    level, state, repair = _worth(before, error)
    return [Finding("clipping", level, state, claim, repair, evidence)]


def _worth(before: Row, error: Row) -> tuple[str, str, str]:
    """Hold the error that clipping leaves against the variance without: level, state, repair."""
    if _above(error, before):
        repair = "Raise the limit: at this batch clipping takes more signal than noise."
        return "warning", "fault", repair
    if _above(before, error):
        repair = "Keep the limit: clipped, the meta-gradient is closer to the unclipped mean."
        return "info", "fine", repair
    repair = "Nothing to change: what clipping gains and loses can't be told apart at this batch."
    return "info", "undecided", repair


def _above(one: Row, other: Row) -> bool:
    return one.low is not None and other.high is not None and one.low > other.high


def _update(table: Rows) -> list[Finding]:
    slope, warm = from_table(table, "update_slope"), from_table(table, "warm_steps", of=None)
    if not slope or not warm or slope[0].low is None or not slope[0].low > -1:
        return []
    claim = (
        f"The variance of {warm[0].of}'s update falls as B^{number(slope[0].value)} "
        f"{interval(slope[0])}, slower than 1/B."
    )
    repair = (
        "Don't count on a larger batch to quiet the steps as it quiets the gradient: lower the "
        "outer rate as well where they are too noisy."
    )
    return [Finding("update_noise", "info", "", claim, repair, (slope[0], warm[0]))]


def _at(table: Rows, quantity: str, batch: int) -> Row | None:
    """Give the row at the largest measured B up to the one trained with."""
    rows = [r for r in from_table(table, quantity) if r.at is not None]
    below = [r for r in rows if (r.at or 0) <= batch] or rows[:1]
    return max(below, key=lambda r: r.at or 0, default=None)
