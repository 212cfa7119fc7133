"""The noise scale tr Cov(g) / |E g|^2 and similar ratios, with their intervals."""

from __future__ import annotations

import math

from metabench.stats.intervals import Estimate, Interval, jackknife_covariance, t_quantile
from metabench.stats.moments import Moments, null_variance


def noise_scale_interval(moments: Moments) -> Interval:
    r"""Return the interval of tr Cov(g) / |E g|^2, in tasks, by Fieller's method.

    It contains every ratio that the two means and their jackknife errors don't reject (Fieller,
    1954, https://doi.org/10.1111/j.2517-6161.1954.tb00159.x). Its upper end is infinite where
    |E g|^2 is not distinguishable from zero.

    The ratio is B_simple of (McCandlish, Kaplan, Amodei & OpenAI Dota
    Team, 2018, https://arxiv.org/abs/1812.06162).
    """
    return ratio_interval(moments.estimates()[0], moments)


def ratio_interval(top: Estimate, moments: Moments) -> Interval:
    """Return the interval of the ratio, 0 or more, of an estimate to |E g|^2 on the same tasks.

    A negative estimate of |E g|^2 counts as zero.
    """
    bottom = moments.estimates()[1]
    below = max(bottom.value, 0.0)
    value = top.value / below if below > 0 else math.inf
    value = value if top.value > 0 else 0.0
    t2 = t_quantile(moments.n - 1) ** 2
    cov = jackknife_covariance(top.left_out, bottom.left_out)
    coefficient, floor = null_variance(moments)
    # The ratio x is kept where (top - x below)^2 <= t^2 Var(top - x below), with the variance of
    # the bottom taken at top / x, i.e. a x^2 - 2 b x + c <= 0.
    a = float(below**2 - t2 * floor)
    b = float(top.value * below + t2 * (coefficient * max(top.value, 0.0) / 2 - cov[0, 1]))
    c = float(top.value**2 - t2 * cov[0, 0])
    root = math.sqrt(max(b * b - a * c, 0.0))
    if a <= 0 and top.value <= 0:  # a ratio below zero, if the top isn't zero itself
        return Interval(value, 0.0, 0.0 if c > 0 else math.inf)
    if a <= 0:  # the bottom could be zero: every ratio beyond the low end is possible
        low = max(c / (b + root), 0.0) if b + root > 0 else math.inf
        return Interval(value, low, math.inf)
    return Interval(value, max((b - root) / a, 0.0), max((b + root) / a, 0.0))
