"""Tail index and top share of positive numbers (NumPy and SciPy only)."""

from __future__ import annotations

import math

import numpy as np

from metabench.stats.intervals import LEVEL, Interval, Vector, jackknife_error, t_quantile
from metabench.stats.moments import Moments

TOP = 0.01  # share of the numbers whose part of the sum is computed
FEWEST_FOR_INTERVAL = 4000  # numbers from which on that part gets an interval
TAIL = 0.05  # share of the numbers that the index is estimated from
FEWEST_IN_TAIL = 10  # numbers in that tail
FARTHEST = 10  # vectors that the index of a small sample is estimated from
MOMENTS = 2.0  # index below which the distribution has no second moment


def top_share(numbers: Vector) -> Interval:
    """Return the share of the sum held by the largest 1 % of the numbers.

    Where 1 % of n isn't whole, the next largest number counts in part. The interval is a jackknife
    of the logarithm, cut at 1; NaN ends below 4000 numbers (it covers 86 % at 512).
    """
    largest = np.sort(numbers)[::-1]
    whole, top = largest.sum(), _top_sums(largest)
    if not (0 < whole < math.inf):
        return Interval(math.nan, math.nan, math.nan)
    value = float(top[0] / whole)
    if len(numbers) < FEWEST_FOR_INTERVAL:
        return Interval(value, math.nan, math.nan)
    left_out = np.log(top[1:] / (whole - largest))
    reach = t_quantile(len(numbers) - 1) * jackknife_error(left_out)
    return Interval(value, value * math.exp(-reach), min(value * math.exp(reach), 1.0))


def hill(numbers: Vector) -> Interval:
    r"""Estimate the index a of a tail P(x > t) ~ t^-a from the largest 5 % of the numbers.

    :math:`1/a` is the mean of :math:`\log x_{(i)} / x_{(k+1)}` over the k largest
    (Hill, 1975, https://doi.org/10.1214/aos/1176343247). Under a power law 2 k a / a_hat is
    chi-square with 2 k degrees of freedom; moments of order a and above don't exist. NaN where
    5 % are fewer than ten numbers, infinite where nothing varies.
    """
    from scipy.special import gammaincinv

    k = int(len(numbers) * TAIL)
    if k < FEWEST_IN_TAIL:
        return Interval(math.nan, math.nan, math.nan)
    largest = np.sort(numbers)[::-1]
    if not (largest[k] > 0 and largest[0] < math.inf):
        return Interval(math.nan, math.nan, math.nan)
    mean = float(np.log(largest[:k] / largest[k]).mean())
    value = 1 / mean if mean > 0 else math.inf
    tail = (1 - LEVEL) / 2
    low, high = (float(gammaincinv(k, p)) / k for p in (tail, 1 - tail))
    return Interval(value, value * low, value * high)


def lowest_tail_index(*samples: Moments) -> float:
    """Return the lowest tail index of several samples, from the ten vectors farthest from the mean.

    (Hill, 1975, https://doi.org/10.1214/aos/1176343247). Infinite for fewer than twenty vectors.
    """
    found = [math.inf]
    for sample in samples:
        largest = np.sort(np.sqrt(sample.deviations))[::-1][: FARTHEST + 1]
        if sample.n >= 2 * FARTHEST and largest[-1] > 0:
            mean = float(np.log(largest[:-1] / largest[-1]).mean())
            found.append(1 / mean if mean > 0 else math.inf)
    return min(found)


def _top_sums(largest: Vector) -> Vector:
    """Return the sum of the top 1 %, `[0]`, and its delete-one values, `[1:]`."""
    n = len(largest)
    everything = _weights(n) @ largest
    # Without a number above the cut, those below it move up by one place.
    weights, moved = _weights(n - 1), np.append(largest[1:], 0.0)[: n - 1]
    head = np.concatenate([[0.0], np.cumsum(weights * largest[: n - 1])])
    tail = np.concatenate([np.cumsum((weights * moved)[::-1])[::-1], [0.0]])
    return np.concatenate([[everything], head + tail])


def _weights(n: int) -> Vector:
    """Return weights of n sorted numbers: 1 in the top 1 %, a fraction for the last, then 0."""
    return np.clip(n * TOP - np.arange(n), 0.0, 1.0)
