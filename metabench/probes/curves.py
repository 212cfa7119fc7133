"""Plots of a quantity with a curve for each method."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from metabench.probes.figure_style import PALETTE, open_frame
from metabench.records.rows import Row, from_table

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

MARKS = "os^vD<>Pp*hX"


def by_method(table: pd.DataFrame, quantity: str) -> dict[str, dict[float, Row]]:
    """Return the rows of a quantity by method and K, without those at other proximal strengths."""
    found: dict[str, dict[float, Row]] = {}
    for line in from_table(table, quantity, of=None):
        if line.at is not None and ":" not in line.of:
            found.setdefault(line.of, {})[line.at] = line
    return found


def over_k(table: pd.DataFrame, axes: Axes, quantity: str, label: str) -> None:
    """Draw a quantity of each method against K.

    Args:
        table: of a probe that compares methods.
        axes: to draw on.
        quantity: whose rows to draw.
        label: of the y-axis.
    """
    for i, (name, lines) in enumerate(by_method(table, quantity).items()):
        rows = [line for line in lines.values() if line.value]
        K = [line.at or 0.0 for line in rows]
        axes.plot(K, [r.value or 0 for r in rows], **styled(i), label=name)
    finished(axes, "inner steps, K", label)


def finished(axes: Axes, x: str, y: str) -> None:
    """Set logarithmic scales, axis labels and a legend.

    Args:
        axes: with the curves.
        x: label of the x-axis; linear near zero if it ends in K.
        y: label of the y-axis.
    """
    axes.set_xscale("symlog" if x.endswith("K") else "log")
    axes.set_yscale("log")
    axes.set(xlabel=x, ylabel=y)
    if axes.get_lines():
        axes.legend(frameon=False, fontsize=7)
    open_frame(axes)


def styled(i: int) -> dict[str, Any]:
    """Return the i-th method's line style."""
    return {"color": color(i), "marker": MARKS[i % len(MARKS)], "ms": 4, "lw": 1}


def color(i: int) -> object:
    """Return the i-th method's color."""
    return PALETTE[i % len(PALETTE)]
