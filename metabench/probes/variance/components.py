"""Draw tasks again, one source at a time crossed with the others: where does the noise come from?"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from metabench.crossed import Design, Squares, components
from metabench.probes.variance.gather import by_layer, gather
from metabench.problem import Address, tree_map
from metabench.rows import Row, row
from metabench.stats import Estimate, Interval

if TYPE_CHECKING:
    from metabench.subject import Subject

SOURCES = ("task", "support", "query", "support x query", "inner", "label")
ADAPTED = ("support", "support x query", "inner")  # what acts through the inner loop alone
LOOKED_AT = 4  # tasks that are drawn again to see what a redraw changes


def redraws(subject: Subject, seed: int) -> dict[str, str]:
    """Say how each redraw goes: `ok`, `zero` (absent), `fixed`, or `coupled` to another source."""
    address = Address.fresh(0, LOOKED_AT)
    first = subject.sample(address, seed)

    def moved(axis: str) -> tuple[bool, bool]:
        again = subject.sample(address._replace(**{axis: np.ones(LOOKED_AT, np.int64)}), seed)
        return not _equal(first.support, again.support), not _equal(first.query, again.query)

    def state(own: bool, other: bool) -> str:
        return ("coupled" if other else "ok") if own else "fixed"

    learns = subject.algorithm.steps > 0
    return {
        "support": state(*moved("support")),
        "query": state(*reversed(moved("query"))),
        "inner": "ok" if learns and subject.algorithm.batch else "zero",
        "label": "ok" if any(moved("label")) else "zero",
    }


def measure(
    subject: Subject, seed: int, tasks: int, memory: int, advance: Callable[[int], None]
) -> list[Row]:
    """Give the variance of each source and its share, for the whole and for each layer."""
    states = redraws(subject, seed)
    if not {states["support"], states["query"]} <= {"ok"}:
        return [_withheld(source, states) for source in SOURCES]
    design = plan(tasks, states)
    sample = gather(subject, crossed(design), seed, 1, memory, advance)
    if not sample.finite.all():
        return [Row("component", of=source, status="diverged") for source in SOURCES]
    squares = by_layer(
        subject.problem.layouts.theta,
        [sample],
        lambda block: Squares.of(block, design),
        Squares.joined,
    )
    absent = {source for source in ("inner", "label") if states[source] == "zero"}
    absent |= set(ADAPTED) if subject.algorithm.steps == 0 else set()
    return [
        line
        for layer, part in squares.items()
        for line in _rows(components(part, design), absent, layer)
    ]


def plan(tasks: int, states: dict[str, str]) -> Design:
    """Draw twice what there is to draw."""
    inner, labels = (2 if states[source] == "ok" else 1 for source in ("inner", "label"))
    return Design(tasks, inner=inner, labels=labels)


def crossed(design: Design) -> Address:
    """Address the draws of a design, the label index fastest and the task slowest.

    Support and query redraws are shared across the cells of a task. An inner draw belongs to its
    cell, and a label permutation to its inner draw: their addresses never come back in a task.
    """
    task, support, query, _, _ = (axis.ravel() for axis in np.indices(design))
    own = np.arange(design.draws) % (design.draws // design.tasks)
    return Address(task, support, query, own // design.labels, own)


def _rows(found: dict[str, Estimate], absent: set[str], layer: str) -> list[Row]:
    total = found["total"]
    rows = []
    for source in SOURCES:
        place = {"of": source, "layer": layer}
        if source in absent:
            rows.append(Row("component", value=0.0, status="zero", **place))
            continue
        rows.append(row("component", found[source].interval(), **place))
        if total.value > 0 and total.left_out.min() > 0:
            rows.append(row("share", found[source].share(total).interval(), **place))
    return rows


def _withheld(source: str, states: dict[str, str]) -> Row:
    status = states.get(source, "withheld")
    empty = Interval(math.nan, math.nan, math.nan)
    return row("component", empty, status if status in ("fixed", "coupled") else "withheld",
               of=source)  # fmt: skip


def _equal(one: Any, other: Any) -> bool:
    same: list[bool] = []
    tree_map(lambda a, b: same.append(bool(a.equal(b))), one, other)
    return all(same)
