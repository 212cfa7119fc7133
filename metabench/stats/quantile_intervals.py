"""Distribution-free intervals of quantiles over tasks, by order statistics.

Infinite values have a rank: a task that diverged counts as the largest.
"""

from __future__ import annotations

import math

import numpy as np

from metabench.stats.intervals import LEVEL, Interval, Vector


def quantile_interval(values: Vector, share: float = 0.5, level: float = LEVEL) -> Interval:
    """Return the interval of the quantile below which a `share` of the values lies.

    The ends are order statistics at ranks of the binomial distribution, each tail within
    (1 - level) / 2; an end is infinite where the sample is too small for it (Hahn & Meeker, 1991,
    https://doi.org/10.1002/9780470316771, section 5.2). The value is the inverted empirical
    distribution, halfway between two ranks where it falls between them.

    Args:
        values: independent values `(n,)`.
        share: 0.5 for the median.
        level: coverage of the interval.

    >>> quantile_interval(np.arange(1.0, 100.0))
    Interval(value=50.0, low=40.0, high=60.0)
    """
    from scipy.special import bdtr

    ordered = np.sort(np.asarray(values, np.float64))
    n, tail = len(ordered), (1 - level) / 2
    below = bdtr(np.arange(n), n, share)  # P(at most r values lie below the quantile)
    first = int(np.searchsorted(below, tail, side="right"))  # ranks that may be cut at the left
    last = int(np.searchsorted(below, 1 - tail))  # P(at most `last` lie below) >= 1 - tail
    low = ordered[first - 1] if first >= 1 else -math.inf
    high = ordered[last] if last < n else math.inf
    return Interval(_inverted(ordered, share), float(low), float(high))


def _inverted(ordered: Vector, share: float) -> float:
    rank = share * len(ordered)
    if rank == int(rank) and 0 < rank < len(ordered):
        pair = ordered[int(rank) - 1 : int(rank) + 1]
        return float(pair.mean()) if np.isfinite(pair).all() else float(pair[-1])
    return float(ordered[min(int(rank), len(ordered) - 1)])
