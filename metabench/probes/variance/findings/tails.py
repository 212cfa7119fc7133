"""Findings about the tasks themselves: do they come back, and do a few of them make the noise?"""

from __future__ import annotations

from metabench.probes.wording import interval, number, percent
from metabench.records.rows import Finding, Rows, from_table

FINITE = 2.0  # tail index of the norm, above which it has a variance
RELIABLE = 4.0  # above which that variance's own estimate has one


def pool(table: Rows, tasks: int) -> list[Finding]:
    """Say that tasks come back, if they do."""
    distinct = from_table(table, "distinct_tasks")
    varies = from_table(table, "task_variance")
    if not distinct or (varies and varies[0].status == "degenerate"):
        return []
    claim = (
        f"{tasks} draws hold only {distinct[0].value:.0f} different tasks: this is a finite pool, "
        "and every number here is about that pool, not about the tasks behind it."
    )
    repair = (
        "Draw from more tasks if these are to stand for others; a meta-learner can fit a pool by "
        "heart. If the pool is all there is, read on."
    )
    return [Finding("finite_pool", "critical", "fault", claim, repair, tuple(distinct))]


def heavy(table: Rows) -> list[Finding]:
    """Say that the tail is too heavy for a variance, or for its interval."""
    index, top = from_table(table, "tail_index"), from_table(table, "top_share")
    largest = from_table(table, "largest_task")
    if not index or index[0].value is None or index[0].high is None:
        return []
    if index[0].value >= FINITE and index[0].high >= RELIABLE:
        return []
    where = f"; the largest is task {largest[0].value:.0f}" if largest else ""
    text = (
        f"|g - E g| has a tail of index {number(index[0].value)} {interval(index[0])}, and the top "
        f"1 % of tasks make {percent(top[0])} of its squares{where}. "
    )
    evidence = (index[0], *top, *largest)
    if index[0].value < FINITE:
        text += "Below index 2 there is no variance for a sample to estimate: it is withheld."
        repair = (
            "Look at that task. Clip each task's meta-gradient before averaging, or bring the "
            "tasks' losses to one scale; a larger batch will not average this away."
        )
        state = "fault" if index[0].high < FINITE else "undecided"
        return [Finding("heavy_tail", "critical", state, text, repair, evidence)]
    text += (
        "Below index 4 the variance exists, but its interval is too narrow: in simulations such "
        "intervals cover 83 to 91 % instead of 95 %."
    )
    repair = "Read intervals as lower bounds on the doubt; clipping each task shortens the tail."
    return [Finding("heavy_tail", "warning", "fault", text, repair, evidence)]
