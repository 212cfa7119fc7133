"""A probe that draws tables of unknown probes, a figure per quantity."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from metabench.probes.base import Drawing, Probe
from metabench.records.rows import Finding, Row, from_table

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from numpy.typing import NDArray

MOST_FIGURES = 6
MOST_BARS = 24


@dataclass(frozen=True)
class PlainProbe(Probe):
    """Draws any table, without findings, since the meaning of its numbers is unknown."""

    axis: ClassVar[str] = "at"
    question: ClassVar[str] = "What was measured?"
    caption: ClassVar[str] = "Values with their intervals."

    def find(self, table: pd.DataFrame) -> list[Finding]:
        """Return no finding."""
        return []

    def draw(self, table: pd.DataFrame, axes: Axes) -> None:
        """Draw the numbers without `at`, each on its own line."""
        rows = [row for row in _rows(table) if row.at is None and row.value is not None]
        _draw_list(rows[:MOST_BARS], axes)

    def drawings(self, table: pd.DataFrame) -> list[Drawing]:
        """Return a figure for each quantity with several `at`, or one of all numbers."""
        numbers = table[table["quantity"] != "check"]
        made = []
        for quantity in dict.fromkeys(numbers["quantity"]):
            rows = [r for r in from_table(numbers, quantity) if None not in (r.at, r.value)]
            if len(rows) > 1:
                draw = partial(_draw_curve, rows)
                made.append(Drawing(f"{quantity} against at", self.caption, draw, (quantity,)))
        whole = Drawing(self.question, self.caption, partial(self.draw, numbers))
        return made[:MOST_FIGURES] or [whole]


def _rows(table: pd.DataFrame) -> list[Row]:
    quantities = dict.fromkeys(table["quantity"])
    return [row for name in quantities for row in from_table(table, name, of=None)]


def _draw_curve(rows: list[Row], axes: Axes) -> None:
    at, value, low, high = _columns(rows)
    axes.plot(at, value, "o-")
    axes.vlines(at, low, high)  # nothing where an end is missing
    axes.set_xlabel("at")
    axes.set_ylabel(rows[0].quantity)


def _draw_list(rows: list[Row], axes: Axes) -> None:
    _, value, low, high = _columns(rows)
    places = np.arange(len(rows))
    axes.plot(value, places, "o")
    axes.hlines(places, low, high)
    axes.set_yticks(places, [f"{row.quantity}, {row.of}".rstrip(", ") for row in rows])
    axes.set_xlabel("value")


def _columns(rows: list[Row]) -> NDArray[np.float64]:
    """Return at, value, low and high, (4, n), NaN where missing."""
    return (
        np.array([[row.at, row.value, row.low, row.high] for row in rows], float).reshape(-1, 4).T
    )
