"""Exact interval of a proportion."""

from __future__ import annotations

from metabench.stats.intervals import LEVEL, Interval


def share_interval(hits: float, count: float) -> Interval:
    """Return the exact binomial interval of `hits` of `count`, which need not be whole numbers.

    (Clopper & Pearson, 1934, https://doi.org/10.1093/biomet/26.4.404).
    """
    from scipy.special import betaincinv

    tail = (1 - LEVEL) / 2
    low = float(betaincinv(hits, count - hits + 1, tail)) if hits else 0.0
    high = float(betaincinv(hits + 1, count - hits, 1 - tail)) if hits < count else 1.0
    return Interval(hits / count, low, high)
