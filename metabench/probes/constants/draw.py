"""The figures of the constants: the slack of each bound, and the inner rates allowed."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

from metabench.probes.base import Drawing
from metabench.probes.figure_style import PALETTE, open_frame
from metabench.records.rows import Row, from_table

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

    from metabench.probes.constants import Constants

NAMES = ("first moment", "second moment", "smoothness", "iterations")


def draw(probe: Constants, table: pd.DataFrame, axes: Axes) -> None:
    """Draw the slack of each bound, at the given inner rate and at the largest covered one.

    Args:
        probe: its settings (unused).
        table: a measured table.
        axes: where to draw.
    """
    blue = PALETTE[0]
    rows = [r for r in from_table(table, "slack", of=None) if r.value]
    axes.set(xlabel="bound / measured")
    if not rows:
        axes.set(xticks=[], yticks=[])
        text = "no bound of the theory applies here"
        axes.text(0.5, 0.5, text, ha="center", transform=axes.transAxes)
        return
    given = [r.value for r in from_table(table, "rate", of="own")]
    _logarithmic(axes)
    places = [NAMES.index(row.of) for row in rows]
    for place, row in zip(places, rows, strict=True):
        _point(axes, row, place, blue if row.at in given else "0.5")
    axes.axvline(1, color="0.3", linestyle=":")
    axes.set_yticks(range(len(NAMES)), NAMES)
    axes.set_ylim(len(NAMES) - 0.5, -0.5)
    open_frame(axes)


def more(probe: Constants, table: pd.DataFrame) -> list[Drawing]:
    """Return the figure of inner rates, where there are at least two."""
    if len([r for r in from_table(table, "rate", of=None) if r.value]) < 2:
        return []
    return [
        Drawing(
            "Which inner rates do theory and curvature allow?",
            "Your inner rate (own), the theory's largest for one and for many steps (upper bounds, "
            "since L is a lower bound), and the rates up to which 50 % and 95 % of tasks are "
            "stable by their curvature at the start, with 95 % intervals.",
            partial(_rates, table),
            ("rate",),
        )
    ]


def _rates(table: pd.DataFrame, axes: Axes) -> None:
    blue, orange = PALETTE[:2]
    rows = [r for r in from_table(table, "rate", of=None) if r.value]
    _logarithmic(axes)
    axes.set(xlabel="inner rate")
    for place, row in enumerate(rows):
        _point(axes, row, place, orange if row.of == "own" else blue)
    axes.set_yticks(range(len(rows)), [row.of for row in rows])
    axes.set_ylim(len(rows) - 0.5, -0.5)
    open_frame(axes)


def _logarithmic(axes: Axes) -> None:
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 3.0)))
    axes.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axes.xaxis.set_minor_formatter(NullFormatter())


def _point(axes: Axes, row: Row, place: int, color: object) -> None:
    value = row.value or 0.0
    low, high = row.low or value, row.high or value
    axes.plot([low, high], [place, place], color=color)
    axes.plot(value, place, marker="o", color=color)
