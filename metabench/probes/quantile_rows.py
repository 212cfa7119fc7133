"""Rows of quantiles over tasks, where a task that diverged counts as the largest."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from metabench.records.rows import Row, row
from metabench.stats.intervals import Vector
from metabench.stats.quantile_intervals import quantile_interval


def quantile(
    quantity: str, values: Vector, share: float = 0.5, least: float = 0.0, **where: Any
) -> Row:
    """Return the row of a quantile over tasks, with its interval; NaN counts as infinite.

    Args:
        quantity: of the row.
        values: one per task `(n,)`.
        share: 0.5 for the median.
        least: lower bound of the interval.
        where: other fields of the row, such as `at` and `of`.
    """
    held = np.where(np.isnan(values), np.inf, values)
    found = quantile_interval(held, share)
    if not math.isfinite(found.value):
        return Row(quantity, status="diverged", **where)
    return row(quantity, found._replace(low=max(found.low, least)), **where)
