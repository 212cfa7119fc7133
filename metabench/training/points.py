"""One quantity as a series over outer steps."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

from metabench.records.number_format import number
from metabench.records.rows import Row, from_table

if TYPE_CHECKING:
    import pandas as pd


class Point(NamedTuple):
    """The value of a quantity at an outer step; a missing interval end is NaN."""

    at: float  # outer step
    value: float
    low: float
    high: float
    row: Row

    def __str__(self) -> str:
        """Format as `value [low, high]`."""
        return f"{number(self.value)} [{number(self.low)}, {number(self.high)}]"


def points(table: pd.DataFrame, quantity: str) -> list[Point]:
    """Return the values of a quantity in the order of steps, without missing ones."""
    found = [
        Point(each.at or 0.0, each.value, _or_nan(each.low), _or_nan(each.high), each)
        for each in from_table(table, quantity)
        if each.value is not None
    ]
    return sorted(found, key=lambda point: point.at)


def _or_nan(value: float | None) -> float:
    return math.nan if value is None else value
