"""Findings about where the noise comes from."""

from __future__ import annotations

from metabench.probes.wording import percents
from metabench.records.rows import Finding, Row, Rows, from_table

DOMINANT = 0.9  # the share from which on one source is as good as all
REPAIRS = {
    "task": "Only more tasks help: raise the task batch. Redrawing the sets of the same tasks buys "
    "nothing.",
    "support": "Average each task over independent support sets, or raise the task batch. More "
    "shots would help too, but change the objective.",
    "query": "Give each task more query examples: that changes no objective and costs no inner "
    "loop.",
    "support x query": "Redraw support and query sets together, or raise the task batch: neither "
    "set alone makes this noise.",
    "inner": "Take larger inner mini-batches, or average over their orders (--set algo.batch=0 "
    "takes every example).",
    "label": "Average each task over label permutations, or start the output layer from one row "
    "for all classes (Ye & Chao, 2021, https://arxiv.org/abs/2106.16245).",
}
WORDS = {
    "task": "Differences between tasks",
    "support": "Support draws",
    "query": "Query draws",
    "support x query": "The interplay of support and query draws",
    "inner": "Inner mini-batches",
    "label": "Label permutations",
}


def sources(table: Rows) -> list[Finding]:
    """Name the sources of the variance, largest first, or why they can't be told apart."""
    components = from_table(table, "component", of=None)
    because = [r for r in components if r.status in ("not_redrawable", "redraw_not_independent")]
    shares = [r for r in from_table(table, "share", of=None) if r.value is not None]
    if not shares:
        return [_withheld(because)] if because else []
    shares.sort(key=lambda r: -(r.value or 0))
    if shares[0].low is None:
        claim = "Which source makes most of the variance can't be told from so few redraws."
        repair = "Redraw more tasks (--set probe.redrawn_tasks=...)."
        return [Finding("sources", "info", "undecided", claim, repair, tuple(shares))]
    return [_ranked(shares, because)]


def _ranked(shares: list[Row], because: list[Row]) -> Finding:
    """Name the shares in their order, and what to do about the first."""
    first, *others = shares
    text = f"{_words(first)} make {percents(first)} of the variance"
    rest = ", ".join(f"{_words(r).lower()} {percents(r)}" for r in others if _seen(r))
    text += f"; {rest}." if rest else "."
    if because:
        kept = " and ".join(sorted({r.of for r in because if " " not in r.of}))
        text += f" The {kept} set is fixed to its task, so its share is part of the task's."
    dominant = (first.low or 0) > DOMINANT
    name, level = ("dominant_source", "warning") if dominant else ("sources", "info")
    repair = REPAIRS[first.of.split(" + ")[0]]
    return Finding(name, level, "fault" if dominant else "", text, repair, tuple(shares))


def _withheld(because: list[Row]) -> Finding:
    coupled = [r.of for r in because if r.status == "redraw_not_independent" and " " not in r.of]
    if coupled:
        claim = (
            f"The sources of the variance are withheld, because a redraw of the {coupled[0]} set "
            "changes other draws of the task as well."
        )
        repair = "Draw support and query sets from their own axes of the Address."
    else:
        claim = (
            "All of the variance lies between the tasks as they are drawn, because redrawing a "
            "task's support or query set changes nothing. Whether other sets of the same tasks "
            "would differ is withheld."
        )
        repair = "Draw sets from Address.support and Address.query if a task has other examples."
    return Finding("sources", "info", "not_looked_at", claim, repair, tuple(because))


def _words(share: Row) -> str:
    source, *fixed = share.of.split(" + ")
    return WORDS[source] + (f" with their {' and '.join(fixed)} sets" if fixed else "")


def _seen(share: Row) -> bool:
    """Whether a share can be told from nothing."""
    return share.low is not None and share.low > 0
