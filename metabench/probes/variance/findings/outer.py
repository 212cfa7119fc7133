"""Findings about outer-loop clipping and the noise of the outer optimizer's update."""

from __future__ import annotations

from metabench.probes.wording import interval, number, percents
from metabench.records.rows import Finding, Row, Rows, from_table


def outer(table: Rows, batch: int) -> list[Finding]:
    """Return whether clipping pays at the B you train with, and how the update's noise falls."""
    return [*_clipping(table, batch), *_update(table)]


def _clipping(table: Rows, batch: int) -> list[Finding]:
    """Report the share of batches clipped, and what clipping does to the error."""
    share = _at(table, "clipped_share", batch)
    before, after = _at(table, "variance", batch), _at(table, "clipped_variance", batch)
    bias, error = _at(table, "clipping_bias", batch), _at(table, "clipped_error", batch)
    if share is None or before is None or after is None or after.low is None:
        return []
    claim = f"Outer-loop clipping changes {percents(share)} of batches of {share.at:.0f} tasks"
    evidence = tuple(r for r in (share, before, after, bias, error) if r is not None)
    if not share.value:
        claim += ": none reached the limit, so its effect is not measured."
        repair = "Lower the limit if it is to act at this batch size."
        return [Finding("clipping", "info", "undecided", claim, repair, evidence)]
    if before.low is None or before.high is None:
        claim += ". Without clipping the variance does not exist; with clipping it is "
        claim += f"{number(after.value)} {interval(after)}."
        return [Finding("clipping", "info", "", claim, "Keep the limit.", evidence)]
    if bias is None or error is None or error.low is None or error.high is None:
        return []
    claim += (
        f": their variance changes from {number(before.value)} {interval(before)} to "
        f"{number(after.value)} {interval(after)}, and clipping adds a squared bias of "
        f"{number(bias.value)} {interval(bias)}."
    )
    level, state, repair = _judge(before, error)
    return [Finding("clipping", level, state, claim, repair, evidence)]


def _judge(before: Row, error: Row) -> tuple[str, str, str]:
    """Compare the error with clipping to the variance without: level, state, repair."""
    if _above(error, before):
        repair = (
            "Raise the limit: at this batch size clipping adds more squared bias than it removes "
            "variance."
        )
        return "warning", "fault", repair
    if _above(before, error):
        repair = "Keep the limit: with clipping the meta-gradient is closer to the unclipped mean."
        return "info", "fine", repair
    repair = (
        "Whether clipping pays at this batch size is undecided: the intervals of the errors with "
        "and without it overlap. Measure four times as many tasks (--tasks) and batches "
        "(--set probe.batches=...)."
    )
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
        "A larger batch reduces the noise of the update less than that of the gradient: lower the "
        "outer rate as well if updates are too noisy."
    )
    return [Finding("update_noise", "info", "", claim, repair, (slope[0], warm[0]))]


def _at(table: Rows, quantity: str, batch: int) -> Row | None:
    """Return the row at the largest measured B up to the one trained with."""
    rows = [r for r in from_table(table, quantity) if r.at is not None]
    below = [r for r in rows if (r.at or 0) <= batch] or rows[:1]
    return max(below, key=lambda r: r.at or 0, default=None)
