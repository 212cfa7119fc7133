"""Figures of the cost probe: error over seconds, and seconds and memory against K."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from metabench.probes.base import Drawing
from metabench.probes.curves import by_method, over_k, styled

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

    from metabench.probes.cost import Cost


def draw(probe: Cost, table: pd.DataFrame, axes: Axes) -> None:
    """Draw the mean squared error over seconds.

    Args:
        probe: its settings.
        table: its rows.
        axes: drawn on.
    """
    found: dict[str, list[tuple[float, float]]] = {}
    for name, lines in by_method(table, "mse_by_seconds").items():
        found[name] = [(at, line.value) for at, line in lines.items() if line.value]
    for i, (name, points) in enumerate(found.items()):
        if points:
            axes.plot(*map(list, zip(*points, strict=True)), **styled(i), label=name)
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set(xlabel="seconds", ylabel="mean squared error")
    if axes.get_lines():
        axes.legend(frameon=False, fontsize=7)


def more(probe: Cost, table: pd.DataFrame) -> list[Drawing]:
    """Return the figures of seconds and memory against K."""
    return [
        Drawing(
            "How does time grow with K?",
            "Median seconds of the meta-gradients of a task batch. Algorithms are timed in turn.",
            partial(over_k, table, quantity="seconds_by_k", label="seconds"),
        ),
        Drawing(
            "How does memory grow with K?",
            "Peak memory of one task's meta-gradient, counted from torch's allocations. Algorithms "
            "with a flat line store no inner iterates; autograd keeps the graph of every step.",
            partial(over_k, table, quantity="bytes", label="bytes"),
        ),
    ]
