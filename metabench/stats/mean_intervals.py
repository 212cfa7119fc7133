"""Intervals for means over independent tasks, and for their ratios (NumPy and SciPy only)."""

from __future__ import annotations

import math

import numpy as np

from metabench.stats.intervals import Estimate, Interval, Vector, jackknife_error, t_quantile
from metabench.stats.moments import Moments, mean_norm_interval
from metabench.stats.proportions import share_interval

ROUNDS = 20  # of the search for the noisiest direction: one near it will do
NORMAL = 1.959964  # Student's t of endless freedom


def mean_interval(sample: Vector) -> Interval:
    """Bracket a mean by Student's t; one number has no interval (NaN).

    (Student, 1908, https://doi.org/10.2307/2331554).
    """
    n, value = len(sample), float(sample.mean())
    if n < 2:
        return Interval(value, math.nan, math.nan)
    reach = t_quantile(n - 1) * float(sample.std(ddof=1)) / math.sqrt(n)
    return Interval(value, value - reach, value + reach)


def skewed_mean_interval(sample: Vector) -> Interval:
    """Bracket a mean whose numbers may be skewed; fewer than three have no interval (NaN).

    The wider of Student's t and Hall's at either end: where a few large numbers make the mean,
    Student's t alone covered 90 % of 96.
    """
    if len(sample) < 3:
        return Interval(float(sample.mean()), math.nan, math.nan)
    return Estimate.mean(sample).hall_interval()


def squared_norm_interval(sample: Vector) -> Interval:
    r"""Bracket |E g|^2 of vectors `(n, Q)`, also where one direction makes nearly all their noise.

    A score interval takes the noise along the mean for a multiple of the squared norm; that
    multiple is far off where the mean's part along the noisiest direction u is small by chance,
    and 90 % were covered. So the ends reach at least as far as those of that part alone,
    :math:`(|\bar g^\top u| \pm t s)^2` with s its standard error, the others as they were found.
    """
    found, n = mean_norm_interval(Moments.from_samples(sample)), len(sample)
    if not math.isfinite(found.high):
        return found
    mean = sample.mean(0)
    centered = sample - mean
    u = centered[np.einsum("nq,nq->n", centered, centered).argmax()]
    if not u.any():
        return found
    for _ in range(ROUNDS):  # of the power method
        u = u / np.linalg.norm(u)
        u = (centered @ u) @ centered
    u = u / np.linalg.norm(u)
    part, square = abs(float(mean @ u)), float((centered @ u).var(ddof=1)) / n
    reach = t_quantile(n - 1) * math.sqrt(square)
    rest = found.value + square - part**2
    return found.widened(rest + max(part - reach, 0.0) ** 2, rest + (part + reach) ** 2)


def mean_share_interval(shares: Vector) -> Interval:
    """Bracket the mean of shares in [0, 1], one a task, NaN for a single one.

    By the exact limits of as many trials as would vary as much: where a few tasks make the whole
    share, or all but, Student's t fails (Korn & Graubard, 1998, Confidence intervals for
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
    trials = value * (1 - value) / error * (NORMAL / t_quantile(n - 1)) ** 2
    return share_interval(value * trials, trials)


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
        reach = t_quantile(n - 1) * jackknife_error(logs)
    return Interval.from_logarithm(value, reach)
