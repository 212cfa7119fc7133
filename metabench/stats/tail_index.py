"""How heavy is the tail of n positive numbers? (NumPy and SciPy only)."""

from __future__ import annotations

import math

import numpy as np

from metabench.stats.intervals import LEVEL, Interval, Vector, jackknife_error, t_quantile
from metabench.stats.moments import Moments

TOP = 0.01  # the share of the numbers whose share of the sum is asked for
RESOLVED = 4000  # numbers, from which on that share gets an interval
TAIL = 0.05  # the share of the numbers that the index is read off
FEWEST = 10  # numbers in that tail
FARTHEST = 10  # vectors that the index of a small sample is read off
MOMENTS = 2.0  # index below which there is no second moment: the sample's isn't the tasks'


def top_share(numbers: Vector) -> Interval:
    """Give the share of the sum that the largest 1 % of the numbers make, by a jackknife.

    Where 1 % of n isn't whole, the next largest number counts in part. The interval is that of the
    logarithm, cut at 1; below 4000 numbers there is none, since it would not cover (86 % at 512).
    """
    largest = np.sort(numbers)[::-1]
    whole, top = largest.sum(), _top_sums(largest)
    if not (0 < whole < math.inf):
        return Interval(math.nan, math.nan, math.nan)
    value = float(top[0] / whole)
    if len(numbers) < RESOLVED:
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
    if k < FEWEST:
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
    """Estimate the lowest tail index among samples of vectors, from the ten that are farthest out.

    (Hill, 1975, https://doi.org/10.1214/aos/1176343247). Infinite of fewer than twenty vectors.
    """
    found = [math.inf]
    for sample in samples:
        largest = np.sort(np.sqrt(sample.deviations))[::-1][: FARTHEST + 1]
        if sample.n >= 2 * FARTHEST and largest[-1] > 0:
            mean = float(np.log(largest[:-1] / largest[-1]).mean())
            found.append(1 / mean if mean > 0 else math.inf)
    return min(found)


def _top_sums(largest: Vector) -> Vector:
    """Give the sum of the top 1 %, `[0]`, and those with each number left out, `[1:]`."""
    n = len(largest)
    everything = _weights(n) @ largest
    # Without a number above the cut, those below it move up by one place.
    weights, moved = _weights(n - 1), np.append(largest[1:], 0.0)[: n - 1]
    head = np.concatenate([[0.0], np.cumsum(weights * largest[: n - 1])])
    tail = np.concatenate([np.cumsum((weights * moved)[::-1])[::-1], [0.0]])
    return np.concatenate([[everything], head + tail])


def _weights(n: int) -> Vector:
    """Count the places of n sorted numbers that make the top 1 %, the last one in part."""
    return np.clip(n * TOP - np.arange(n), 0.0, 1.0)
