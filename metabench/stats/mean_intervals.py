"""Intervals of means over independent tasks, and of their ratios (NumPy and SciPy only)."""

from __future__ import annotations

import math

import numpy as np

from metabench.stats.intervals import Estimate, Interval, Vector, jackknife_error, t_quantile
from metabench.stats.moments import Moments, mean_norm_interval
from metabench.stats.proportions import share_interval

POWER_ITERATIONS = 20  # for the noisiest direction: an approximation is enough
NORMAL_QUANTILE = 1.959964  # Student's t quantile at infinite degrees of freedom


def mean_interval(sample: Vector) -> Interval:
    """Return the Student t interval of a mean; NaN ends for a single number.

    (Student, 1908, https://doi.org/10.2307/2331554).
    """
    n, value = len(sample), float(sample.mean())
    if n < 2:
        return Interval(value, math.nan, math.nan)
    reach = t_quantile(n - 1) * float(sample.std(ddof=1)) / math.sqrt(n)
    return Interval(value, value - reach, value + reach)


def skewed_mean_interval(sample: Vector) -> Interval:
    """Return the interval of the mean of skewed numbers; NaN ends for fewer than three.

    Each end is the wider of Student's t and Hall's. Where a few large numbers dominate the mean,
    Student's t alone covered 90 % at 96 numbers.
    """
    if len(sample) < 3:
        return Interval(float(sample.mean()), math.nan, math.nan)
    return Estimate.mean(sample).hall_interval()


def squared_norm_interval(sample: Vector) -> Interval:
    r"""Return the interval of |E g|^2 of vectors `(n, Q)`, valid if one direction has all noise.

    The score interval assumes that the noise along the mean is proportional to the squared norm.
    That is wrong where the mean's component along the noisiest direction u is small by chance;
    coverage was 90 %. So the ends reach at least as far as those of that component,
    :math:`(|\bar g^\top u| \pm t s)^2` with s its standard error, plus the other components.
    """
    found, n = mean_norm_interval(Moments.from_samples(sample)), len(sample)
    if not math.isfinite(found.high):
        return found
    mean = sample.mean(0)
    centered = sample - mean
    u = centered[np.einsum("nq,nq->n", centered, centered).argmax()]
    if not u.any():
        return found
    for _ in range(POWER_ITERATIONS):
        u = u / np.linalg.norm(u)
        u = (centered @ u) @ centered
    u = u / np.linalg.norm(u)
    part, square = abs(float(mean @ u)), float((centered @ u).var(ddof=1)) / n
    reach = t_quantile(n - 1) * math.sqrt(square)
    rest = found.value + square - part**2
    return found.widened(rest + max(part - reach, 0.0) ** 2, rest + (part + reach) ** 2)


def mean_share_interval(shares: Vector) -> Interval:
    """Return the interval of the mean of shares in [0, 1], one per task; NaN ends for one task.

    Exact binomial limits at the number of trials that would vary as much: Student's t fails where a
    few tasks make up nearly all of the share, or all but a little
    (Korn & Graubard, 1998, Confidence intervals for
    proportions with small expected number of positive counts estimated from survey data, Survey
    Methodology 24, https://www150.statcan.gc.ca/n1/en/catalogue/12-001-X19980024356).
    """
    n, value = len(shares), float(np.clip(shares.mean(), 0, 1))
    if n < 2:
        return Interval(value, math.nan, math.nan)
    error = float(shares.var(ddof=1)) / n
    if value in (0.0, 1.0):
        return share_interval(n * value, n)
    if error == 0:
        return Interval(value, value, value)
    trials = value * (1 - value) / error * (NORMAL_QUANTILE / t_quantile(n - 1)) ** 2
    return share_interval(value * trials, trials)


def ratio_of_means(top: Vector, bottom: Vector, power: float = 1.0) -> Interval:
    """Return the interval of mean(top)^power / mean(bottom) by a jackknife of its logarithm.

    (Efron & Stein, 1981, https://doi.org/10.1214/aos/1176345462).

    Args:
        top: positive numbers, one per task `(n,)`.
        bottom: positive numbers of the same tasks `(n,)`.
        power: exponent of the mean of `top`.

    Returns:
        The interval, with NaN ends for fewer than three tasks, and infinite where it says nothing.
    """
    n = len(top)
    if not top.mean() > 0 or not bottom.mean() > 0:
        return Interval(0.0 if bottom.mean() > 0 else math.nan, math.nan, math.nan)
    value = float(top.mean() ** power / bottom.mean())
    if n < 3:
        return Interval(value, math.nan, math.nan)
    rest = [(each.sum() - each) / (n - 1) for each in (top, bottom)]
    with np.errstate(divide="ignore", invalid="ignore"):  # one task may dominate
        logs = power * np.log(rest[0]) - np.log(rest[1])
        reach = t_quantile(n - 1) * jackknife_error(logs)
    return Interval.from_logarithm(value, reach)
