"""Findings about the tasks: a finite pool, and heavy-tailed meta-gradients."""

from __future__ import annotations

from metabench.probes.wording import interval, number, percent
from metabench.records.rows import Finding, Row, Rows, from_table

INDEX_OF_FINITE_VARIANCE = 2.0  # tail index of |g - E g| above which g has a variance
INDEX_OF_VALID_INTERVALS = 4.0  # above which the estimate of that variance has a variance


def pool(table: Rows, tasks: int) -> list[Finding]:
    """Report that the tasks come from a finite pool, if draws repeat."""
    distinct = from_table(table, "distinct_tasks")
    varies = from_table(table, "task_variance")
    if not distinct or (varies and varies[0].status == "degenerate"):
        return []
    claim = (
        f"{tasks} draws contain only {distinct[0].value:.0f} different tasks: the pool is finite, "
        "and every number here describes this pool, not the distribution it was drawn from."
    )
    repair = (
        "Draw from more tasks if results should hold for others; a meta-learner can memorize a "
        "finite pool. If the pool is the whole distribution, nothing needs to change."
    )
    return [Finding("finite_pool", "critical", "fault", claim, repair, tuple(distinct))]


def heavy(table: Rows) -> list[Finding]:
    """Report a tail too heavy for a variance, or for its interval."""
    index, top = from_table(table, "tail_index"), from_table(table, "top_share")
    largest = from_table(table, "largest_task")
    if not index or index[0].value is None or index[0].high is None:
        return []
    if index[0].value >= INDEX_OF_FINITE_VARIANCE and index[0].high >= INDEX_OF_VALID_INTERVALS:
        return []
    where = f"; the largest is task {largest[0].value:.0f}" if largest else ""
    text = (
        "Per-task meta-gradients are heavy-tailed: |g - E g| has tail index "
        f"{number(index[0].value)} {interval(index[0])}, and 1 % of tasks make up "
        f"{percent(top[0])} of the sum of its squares{where}. "
    )
    evidence = (index[0], *top, *largest)
    if index[0].value < INDEX_OF_FINITE_VARIANCE:
        return [_no_variance(index[0].high, text, evidence)]
    text += (
        "Below index 4 the variance exists, but its interval is too narrow: in simulations such "
        "intervals covered 83 to 91 % instead of 95 %."
    )
    repair = (
        "Assume that the true intervals are wider than stated; clip each task's meta-gradient to "
        "shorten the tail."
    )
    return [Finding("heavy_tail", "warning", "fault", text, repair, evidence)]


def _no_variance(high: float, text: str, evidence: tuple[Row, ...]) -> Finding:
    """Judge a tail index whose estimate is below 2 by its upper end."""
    repair = (
        "Inspect that task. Clip each task's meta-gradient before averaging, or bring the "
        "tasks' losses to a common scale; a larger batch does not average this out."
    )
    if high < INDEX_OF_FINITE_VARIANCE:
        text += "Below index 2 the variance does not exist, so it is not reported."
        return Finding("heavy_tail", "critical", "fault", text, repair, evidence)
    text += (
        "The interval contains 2, below which the variance does not exist: whether it exists is "
        "undecided, so it is not reported."
    )
    if high < INDEX_OF_VALID_INTERVALS:
        return Finding("heavy_tail", "warning", "fault", text, repair, evidence)
    return Finding(
        "heavy_tail", "info", "undecided", text, "Measure more tasks (--tasks).", evidence
    )
