"""Findings on the tasks themselves: equal or overlapping sets, missing classes, equal tasks."""

from __future__ import annotations

from typing import NamedTuple

from metabench.records.number_format import number
from metabench.records.rows import Finding, Row, Rows, from_table


class Fact(NamedTuple):
    """What is said of a fact; {share} is a percentage, {at} a count, the others an interval."""

    level: str
    state: str
    claim: str
    repair: str


def facts(table: Rows) -> list[Finding]:
    """Return the findings on the tasks."""
    return [_finding(row) for row in from_table(table, "task_fact", of=None)]


def _finding(row: Row) -> Finding:
    fact = FACTS[row.of]
    claim = fact.claim.format(
        share=f"{100 * (row.value or 0):.3g} %",
        at=number(row.at or 0),
        value=number(row.value or 0),
        low=number(row.low or 0),
        high=number(row.high or 0),
    )
    name = f"task_{row.of.replace(' ', '_')}"
    return Finding(name, fact.level, fact.state, claim, fact.repair, (row,))


# Undecided, since whether it is meant can't be told from outside.
FACTS = {
    "support is query": Fact(
        "info",
        "undecided",
        "Support and query set are the same in {share} of the tasks that were looked at: the "
        "meta-gradient is that of the training loss after adaptation, and rewards memorizing.",
        "Draw the query set from other examples than the support set; if it is meant, read every "
        "finding as one on the training loss.",
    ),
    "query in support": Fact(
        "info",
        "undecided",
        "Of the query inputs, {share} are also support inputs of the same task.",
        "Split each task's examples before drawing: no query example in the support set.",
    ),
    "class missing": Fact(
        "info",
        "undecided",
        "In {share} of the tasks that were looked at, a class of the query set is missing in the "
        "support set, so no adaptation can learn it.",
        "Draw every class of a task into both sets.",
    ),
    "not reproducible": Fact(
        "warning",
        "fault",
        "The sampler gives another task when it is asked again for the same index and seed: "
        "compared estimators see other tasks, redraws of one set change the other, and no run "
        "repeats.",
        "Draw with a generator that is seeded by the index and the seed, such as "
        "torch.Generator().manual_seed(1000 * seed + index), and pass it to every random function.",
    ),
    "seed has no effect": Fact(
        "info",
        "",
        "The sampler gives the same tasks for another seed: cells of several seeds are no "
        "repetitions, and findings can't be confirmed on fresh tasks.",
        "Let the sampler draw by seed and index, or use further indices as fresh tasks.",
    ),
    "equal tasks": Fact(
        "info",
        "undecided",
        "Of the first 16 tasks, {at} equal an earlier one: fewer tasks are independent than "
        "counted, and intervals are too narrow.",
        "Let the sampler draw a task of its own for every index.",
    ),
    "adaptation": Fact(
        "info",
        "",
        "It is not shown that adaptation lowers the query loss: it changes by {value} [{low}, "
        "{high}] over 16 tasks.",
        "If it should at this theta, check that support labels belong to their inputs, and try "
        "other inner rates.",
    ),
}
