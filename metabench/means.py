"""Intervals for means over independent tasks, and for their ratios (NumPy and SciPy only)."""

from __future__ import annotations

import math

import numpy as np

from metabench.stats import MOST, Interval, Vector, quantile, spread


def mean_interval(sample: Vector) -> Interval:
    """Bracket a mean by Student's t; one number has no interval (NaN).

    (Student, 1908, https://doi.org/10.2307/2331554).
    """
    n, value = len(sample), float(sample.mean())
    if n < 2:
        return Interval(value, math.nan, math.nan)
    reach = quantile(n - 1) * float(sample.std(ddof=1)) / math.sqrt(n)
    return Interval(value, value - reach, value + reach)


def ratio_of_means(top: Vector, bottom: Vector, power: float = 1.0) -> Interval:
    """Bracket mean(top)^power / mean(bottom), both positive, by a jackknife of its logarithm.

    NaN for a single task; unbounded where an end says nothing
    (Efron & Stein, 1981, https://doi.org/10.1214/aos/1176345462).
    """
    n = len(top)
    if not top.mean() > 0 or not bottom.mean() > 0:
        return Interval(0.0 if bottom.mean() > 0 else math.nan, math.nan, math.nan)
    value = float(top.mean() ** power / bottom.mean())
    if n < 3:
        return Interval(value, math.nan, math.nan)
    rest = [(each.sum() - each) / (n - 1) for each in (top, bottom)]
    with np.errstate(divide="ignore", invalid="ignore"):  # one task may carry it all
        logs = power * np.log(rest[0]) - np.log(rest[1])
        reach = quantile(n - 1) * spread(logs)
    if not reach < MOST:
        return Interval(value, 0.0, math.inf)
    return Interval(value, value * math.exp(-reach), value * math.exp(reach))
