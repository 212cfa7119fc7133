"""Arrays of a line and its interval band, from rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from metabench.records.rows import Row
from metabench.stats.intervals import Vector


class Band(NamedTuple):
    """A line and its 95 % intervals; a missing end equals the value."""

    at: Vector
    value: Vector
    low: Vector
    high: Vector


def band(rows: Sequence[Row]) -> Band:
    """Return the arrays of rows that have a value."""
    ends = ((r.at, r.value, _or(r.low, r.value), _or(r.high, r.value)) for r in rows)
    return Band(*np.array(list(ends), float).reshape(-1, 4).T)


def _or(end: float | None, value: float | None) -> float | None:
    return value if end is None else end
