"""One quantity along the training: a number a step, with its interval where it has one."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

from metabench.records.number_format import number
from metabench.records.rows import Row, from_table

if TYPE_CHECKING:
    import pandas as pd


class Point(NamedTuple):
    """A number at a step; an end that is missing is NaN."""

    at: float  # outer step
    value: float
    low: float
    high: float
    row: Row

    def __str__(self) -> str:
        """Write the number with its interval."""
        return f"{number(self.value)} [{number(self.low)}, {number(self.high)}]"


def points(table: pd.DataFrame, quantity: str) -> list[Point]:
    """Read one quantity's numbers, those that are missing left out, in the order of steps."""
    found = [
        Point(each.at or 0.0, each.value, _or_nan(each.low), _or_nan(each.high), each)
        for each in from_table(table, quantity)
        if each.value is not None
    ]
    return sorted(found, key=lambda point: point.at)


def _or_nan(value: float | None) -> float:
    return math.nan if value is None else value
