"""Draw tasks again, one source crossed with the other: where does the noise come from?"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from metabench.estimation.redraws import redraws
from metabench.probes.variance.collect import by_layer, gather
from metabench.problems.tasks import Address
from metabench.records.rows import Row, row
from metabench.stats.intervals import Estimate
from metabench.stats.variance_components import Design, Squares, components

if TYPE_CHECKING:
    from metabench.estimation.estimator_on_tasks import Subject

SOURCES = ("task", "support", "query", "support x query", "inner", "label")
AXES = ("support", "query", "inner", "label")  # what an address can redraw


def measure(
    subject: Subject, seed: int, tasks: int, memory: int, advance: Callable[[int], None]
) -> tuple[list[Row], dict[str, Estimate]]:
    """Give the variance of each source and its share, for the whole and for each layer.

    Besides the rows, the whole's estimates, none where they are withheld. A set that is fixed to
    its task can't be told from it: their variance is one row's, and the set's own is withheld.
    """
    states = redraws(subject, seed)
    design = plan(tasks, states)
    split = design.draws > design.tasks and "redraw_not_independent" not in states.values()
    if not split:
        withheld = (_because(source, states) or "withheld" for source in SOURCES)
        return [
            Row("component", of=of, status=status)
            for of, status in zip(SOURCES, withheld, strict=True)
        ], {}
    sample = gather(subject, crossed(design), seed, 1, memory, advance)
    if not sample.finite.all():
        return [Row("component", of=source, status="diverged") for source in SOURCES], {}
    squares = by_layer(
        subject.problem.layouts.theta,
        [sample],
        lambda block: Squares.from_samples(block, design),
        Squares.joined,
    )
    found = {layer: components(part, design) for layer, part in squares.items()}
    return [line for layer in found for line in rows(found[layer], states, layer)], found[""]


def plan(tasks: int, states: dict[str, str]) -> Design:
    """Draw twice what there is to draw."""
    twice = (2 if states[source] == "ok" else 1 for source in AXES)
    return Design(tasks, *twice)


def crossed(design: Design) -> Address:
    """Address the draws of a design, the label index fastest and the task slowest.

    Support and query redraws are shared across the cells of a task. An inner draw belongs to its
    cell, and a label permutation to its inner draw: their addresses never come back in a task.
    """
    task, support, query, _, _ = (axis.ravel() for axis in np.indices(design))
    own = np.arange(design.draws) % (design.draws // design.tasks)
    return Address(task, support, query, own // design.labels, own)


def rows(found: dict[str, Estimate], states: dict[str, str], layer: str) -> list[Row]:
    """Give components and shares of one layer, or why there is none."""
    total = found["total"]
    fixed = [source for source in AXES if states[source] == "not_redrawable"]
    lines = []
    for source in SOURCES:
        name = " + ".join([source, *fixed]) if source == "task" else source
        place = {"of": name, "layer": layer}
        status = _because(source, states)
        if status:
            value = 0.0 if status == "zero" else None
            lines.append(Row("component", of=name, layer=layer, value=value, status=status))
            continue
        lines.append(row("component", found[source].skewed(), **place))
        if total.value > 0 and total.left_out.min() > 0:
            lines.append(row("share", found[source].share(total).skewed(), **place))
    return lines


def _because(source: str, states: dict[str, str]) -> str:
    """Say why a source has no component of its own, if it hasn't.

    `zero`, `redraw_not_independent` or `not_redrawable`; "" where it has one.
    """
    found = {states[part] for part in source.split(" x ") if part in states}
    return next(
        (state for state in ("zero", "redraw_not_independent", "not_redrawable") if state in found),
        "",
    )
