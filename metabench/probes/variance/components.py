"""Variance by source, from a crossed design of redraws of the same tasks."""

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
AXES = ("support", "query", "inner", "label")  # that an address can redraw


def measure(
    subject: Subject, seed: int, tasks: int, memory: int, advance: Callable[[int], None]
) -> tuple[list[Row], dict[str, Estimate]]:
    """Measure the variance of each source and its share, for the whole and for each layer.

    The variance of a set that is fixed to its task counts under the task: one row holds both.

    Args:
        subject: whose meta-gradients are computed.
        seed: of every draw.
        tasks: number of tasks to redraw.
        memory: bytes that may be used.
        advance: called with the number of draws done since the last call.

    Returns:
        The rows, and the estimates for the whole, empty where they are not reported.
    """
    states = redraws(subject, seed)
    design = redraw_design(tasks, states)
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


def redraw_design(tasks: int, states: dict[str, str]) -> Design:
    """Return a design with two draws of every source that can be redrawn."""
    twice = (2 if states[source] == "ok" else 1 for source in AXES)
    return Design(tasks, *twice)


def crossed(design: Design) -> Address:
    """Return the addresses of a design's draws, the label index fastest and the task slowest.

    Support and query redraws are shared across the cells of a task. An inner draw belongs to its
    cell, and a label permutation to its inner draw: their addresses are unique in a task.
    """
    task, support, query, _, _ = (axis.ravel() for axis in np.indices(design))
    unique = np.arange(design.draws) % (design.draws // design.tasks)
    return Address(task, support, query, unique // design.labels, unique)


def rows(found: dict[str, Estimate], states: dict[str, str], layer: str) -> list[Row]:
    """Return the rows of components and shares of one layer, or their statuses.

    Args:
        found: the estimate of each source, and `total`.
        states: whether each axis can be redrawn.
        layer: "" for the whole.
    """
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
    """Return why a source has no component.

    `zero`, `redraw_not_independent` or `not_redrawable`; "" if it has one.
    """
    found = {states[part] for part in source.split(" x ") if part in states}
    return next(
        (state for state in ("zero", "redraw_not_independent", "not_redrawable") if state in found),
        "",
    )
