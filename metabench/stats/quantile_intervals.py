"""Quantiles over tasks, by order statistics: intervals that assume nothing of a distribution.

What isn't finite has a rank all the same: a task that diverged counts as the largest.
"""

from __future__ import annotations

import math

import numpy as np

from metabench.stats.intervals import LEVEL, Interval, Vector


def quantile_interval(values: Vector, share: float = 0.5, level: float = LEVEL) -> Interval:
    """Bracket the quantile of which `share` lies below, from independent values `(n,)`.

    The ends are order statistics whose ranks the binomial gives, each tail within (1 - level) / 2;
    an end that no rank is far enough out for is infinite (Hahn & Meeker, 1991,
    https://doi.org/10.1002/9780470316771, section 5.2). The value is the inverted empirical
    distribution, between two ranks their mean.

    >>> quantile_interval(np.arange(1.0, 100.0))
    Interval(value=50.0, low=40.0, high=60.0)
    """
    from scipy.special import bdtr

    ordered = np.sort(np.asarray(values, np.float64))
    n, tail = len(ordered), (1 - level) / 2
    below = bdtr(np.arange(n), n, share)  # P(at most r values lie below the quantile)
    first = int(np.searchsorted(below, tail, side="right"))  # as many ranks may be cut at the left
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
