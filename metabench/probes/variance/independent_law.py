"""Whether the variance of a batch of B tasks is V1/B, from the rows that test it."""

from __future__ import annotations

import math
from collections.abc import Iterable

from metabench.records.rows import Row

SLOPE_MARGIN = 0.05  # about -1: a slope whose interval lies within it counts as -1


def independent_law(rows: Iterable[Row]) -> str:
    """Return whether V1/B is the variance of a batch.

    `declared`: the sampler declares independent tasks; `holds`: the slope lies within its margin of
    -1; `refuted`: the order of the tasks isn't random, and the slope is not within its margin;
    `doubtful`: the slope's interval excludes -1; `open`: it contains -1, and is too wide.

    Args:
        rows: `slope` and, if there, `independence`; others are ignored.

    >>> independent_law([Row("slope", value=-0.7, low=-0.9, high=-0.5)])
    'doubtful'
    """
    found = {row.quantity: row for row in rows if not row.layer and not row.of}
    slope, test = found.get("slope"), found.get("independence", Row("independence"))
    if test.status == "holds":
        return "declared"
    low, high = _ends(slope)
    if low >= -1 - SLOPE_MARGIN and high <= -1 + SLOPE_MARGIN:
        return "holds"
    if test.status == "refuted":
        return "refuted"
    return "open" if low <= -1 <= high else "doubtful"


def _ends(slope: Row | None) -> tuple[float, float]:
    if slope is None or slope.low is None or slope.high is None:
        return -math.inf, math.inf
    return slope.low, slope.high
