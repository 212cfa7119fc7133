"""Findings about the sources of the variance: tasks, support and query draws, and others."""

from __future__ import annotations

from metabench.probes.wording import percents
from metabench.records.rows import Finding, Row, Rows, from_table
from metabench.records.source_names import source_name
from metabench.stats.intervals import FEWEST_TASKS_IF_SKEWED as FEWEST_REDRAWN

DOMINANT = 0.9  # share of the variance above which one source counts as the only one
REPAIRS = {
    "task": "Raise the task batch: only more tasks reduce this part. Redrawing the sets of the "
    "same tasks does not.",
    "support": "Average each task over independent support sets, or raise the task batch. More "
    "shots would also help, but change the objective.",
    "query": "Use more query examples per task: this leaves the objective unchanged and needs no "
    "further inner loop.",
    "support x query": "Redraw support and query sets together, or raise the task batch: "
    "redrawing one set alone does not remove this part.",
    "inner": "Use larger inner mini-batches, or average over their orders (--set algo.batch=0 "
    "uses every example).",
    "label": "Average each task over label permutations, or initialize all rows of the output "
    "layer alike (Ye & Chao, 2021, https://arxiv.org/abs/2106.16245).",
}


def sources(table: Rows) -> list[Finding]:
    """Rank the sources of the variance, or say why they are not reported."""
    components = from_table(table, "component", of=None)
    because = [r for r in components if r.status in ("not_redrawable", "redraw_not_independent")]
    shares = [r for r in from_table(table, "share", of=None) if r.value is not None]
    if not shares:
        return [_not_reported(because)] if because else []
    shares.sort(key=lambda r: -(r.value or 0))
    if shares[0].low is None:
        claim = "Too few tasks were redrawn to rank the sources of the variance."
        if any((r.value or 0.0) < 0 for r in shares):
            claim += " Some estimates are below 0, as unbiased estimates of small variances can be."
        repair = (
            f"Measure {2 * FEWEST_REDRAWN} tasks or more (--tasks): half of them are redrawn, at "
            f"most probe.redrawn_tasks, and intervals need {FEWEST_REDRAWN}."
        )
        return [Finding("sources", "info", "undecided", claim, repair, tuple(shares))]
    return [_ranked(shares, because)]


def _ranked(shares: list[Row], because: list[Row]) -> Finding:
    """List the shares, largest first, and what reduces the largest."""
    first, *others = shares
    listed = [first, *(r for r in others if _above_zero(r))]
    text = f"Variance by source: {', '.join(f'{source_name(r.of)} {percents(r)}' for r in listed)}."
    if because:
        fixed = " and ".join(sorted({r.of for r in because if " " not in r.of}))
        text += (
            f" Each task has a fixed {fixed} set, so its variance is counted as variance between "
            "tasks."
        )
    dominant = (first.low or 0) > DOMINANT
    name, level = ("dominant_source", "warning") if dominant else ("sources", "info")
    repair = REPAIRS[first.of.split(" + ")[0]]
    return Finding(name, level, "fault" if dominant else "", text, repair, tuple(shares))


def _not_reported(because: list[Row]) -> Finding:
    coupled = [r.of for r in because if r.status == "redraw_not_independent" and " " not in r.of]
    if coupled:
        claim = (
            f"The variance by source is not reported, because redrawing the {coupled[0]} set also "
            "changes other draws of the task."
        )
        repair = "Draw the support set from Address.support and the query set from Address.query."
    else:
        claim = (
            "All variance is counted as variance between tasks, because redrawing a task's support "
            "or query set changes nothing. Whether other sets of the same tasks would differ is "
            "unknown."
        )
        repair = "Draw sets from Address.support and Address.query if a task has further examples."
    return Finding("sources", "info", "not_looked_at", claim, repair, tuple(because))


def _above_zero(share: Row) -> bool:
    """Whether a share is distinguishable from zero."""
    return share.low is not None and share.low > 0
