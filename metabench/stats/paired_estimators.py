r"""Two estimators on the same tasks: angle, error and break-even (NumPy and SciPy only).

With a and b the two vectors of one task, everything is in the moments of a, of b and of a - b,
since :math:`2 \langle E a, E b \rangle = |E a|^2 + |E b|^2 - |E (a - b)|^2`. All three squared
norms are unbiased; plug-in norms and cosines of noisy means are not.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from metabench.stats.intervals import (
    Estimate,
    Interval,
    jackknife_covariance,
    jackknife_error,
    t_quantile,
)
from metabench.stats.moments import Moments, mean_norm_interval, variance_interval
from metabench.stats.noise_scale import ratio_interval

RESOLVED = 0.1  # of |E a|^2, its least low end: of 16 tasks without a mean, 8 % exceed zero
CLEAR = 4  # standard errors below 1 from which on a cosine is bracketed by its jackknife


def cosine(first: Moments, second: Moments, difference: Moments) -> Interval:
    """Bracket the cosine of E a and E b.

    Well below 1, by a jackknife of its inverse hyperbolic tangent. Where the estimate can't be told
    from 1, which it may exceed, by what it lacks to 1: :math:`|E (a - s b)|^2 / 2 |E a|^2` with s
    the ratio of the norms, which has a score interval that may end at 0; in between, by the wider.

    NaN where a mean's norm can't be told from zero, since then it has no direction.
    """
    (_, a), (_, b), (_, d) = first.estimates(), second.estimates(), difference.estimates()
    sizes = [mean_norm_interval(each) for each in (first, second)]
    resolved = all(size.low > size.value * RESOLVED for size in sizes)
    if not resolved or min(a.left_out.min(), b.left_out.min()) <= 0:
        return Interval(math.nan, math.nan, math.nan)
    value = (a.value + b.value - d.value) / (2 * math.sqrt(a.value * b.value))
    left_out = (a.left_out + b.left_out - d.left_out) / (2 * np.sqrt(a.left_out * b.left_out))
    if value < 0:  # -a instead of a
        total = Moments.weighted((2, first), (2, second), (-1, difference))
        found = cosine(first, second, total)
        return Interval(-found.value, -found.high, -found.low)
    near = _near_one(value, first, second, difference)
    if max(value, np.abs(left_out).max()) >= 1:
        return near
    reach = t_quantile(first.n - 1) * jackknife_error(np.arctanh(left_out))
    low, high = (math.tanh(math.atanh(value) + sign * reach) for sign in (-1, 1))
    clear = Interval(value, low, high)
    return (
        clear.widened(near.low, near.high)
        if 1 - value < CLEAR * jackknife_error(left_out)
        else clear
    )


def _near_one(value: float, first: Moments, second: Moments, difference: Moments) -> Interval:
    """Bracket a cosine by what it lacks to 1."""
    s = math.sqrt(first.mean_norm_squared / second.mean_norm_squared)
    apart = Moments.weighted((1 - s, first), (s * s - s, second), (s, difference))
    gap, size = mean_norm_interval(apart), mean_norm_interval(first)
    most, least = max(gap.high, 0.0) / 2 / size.value, max(gap.low, 0.0) / 2 / size.value
    return Interval(min(value, 1.0), max(1 - most, -1.0), 1 - least)


def squared_error(
    moments: Moments,
    bias: Moments | None,
    B: float,
    norm: Callable[[Moments], Interval] = mean_norm_interval,
    spread_of: Callable[[Moments], Interval] = variance_interval,
) -> Interval:
    """Bracket the mean squared error |bias|^2 + V1 / B of a batch of B tasks.

    Each part has its own interval, skewed where it is; the sum's ends lie as far from its value as
    the parts' do together, given how the parts vary with one another (Zou & Donner, 2008,
    https://doi.org/10.1002/sim.3095). A jackknife of the sum covers 83 % where a small bias is most
    of it.
    """
    value, low, high = spread_of(moments)
    noise = Interval(value / B, low / B, high / B)
    if bias is None:
        return noise
    squared = norm(bias)
    covariance = jackknife_covariance(moments.leave_one_out()[0], bias.leave_one_out()[1])
    scale = math.sqrt(covariance[0, 0] * covariance[1, 1])
    tie = covariance[0, 1] / scale if scale > 0 else 0.0
    value = noise.value + squared.value
    below = _together(noise.value - noise.low, squared.value - squared.low, tie)
    above = _together(noise.high - noise.value, squared.high - squared.value, tie)
    return Interval(value, value - below, value + above)


def _together(first: float, second: float, tie: float) -> float:
    """Give the reach of a sum whose parts reach so far and are correlated by `tie`."""
    if max(first, second) == math.inf:
        return math.inf
    return math.sqrt(max(first**2 + second**2 + 2 * tie * first * second, 0.0))


def break_even(
    exact: Moments, other: Moments, bias: Moments, cost: tuple[float, float] = (1.0, 1.0)
) -> Interval:
    r"""Bracket the budget beyond which the exact estimator has the smaller squared error.

    With c the cost of one task, a budget b buys an error of :math:`c_e V_e / b`, against
    :math:`|bias|^2 + c_o V_o / b`. Costs of 1 make the budget a task batch B*; seconds make it
    seconds. It is zero where the exact one is better at any budget, unbounded where the bias can't
    be told from zero.
    """
    excess = exact.estimates()[0].scaled(cost[0]) + other.estimates()[0].scaled(-cost[1])
    return ratio_interval(excess, bias)


def variance_ratio(top: Moments, bottom: Moments) -> Interval:
    """Bracket the ratio of two variances on the same tasks by a jackknife of its logarithm."""
    above, below = top.estimates()[0], bottom.estimates()[0]
    if not (0 < above.value < math.inf and 0 < below.value < math.inf):
        return Interval(math.nan, math.nan, math.nan)
    share: Estimate = above.share(below)
    reach = t_quantile(top.n - 1) * jackknife_error(np.log(share.left_out))
    return Interval(share.value, share.value * math.exp(-reach), share.value * math.exp(reach))


def skewed_variance_ratio(top: Moments, bottom: Moments) -> Interval:
    """Bracket the same by the wider end of that interval and Hall's of the logarithm.

    Where a few large vectors are clipped, the jackknife's alone covered 89 %, both 97 %.
    """
    found = variance_ratio(top, bottom)
    if not (found.low > 0 and found.high < math.inf):
        return found
    share = top.estimates()[0].share(bottom.estimates()[0])
    logs = Estimate(math.log(share.value), np.log(share.left_out)).hall_interval()
    return found.widened(math.exp(logs.low), math.exp(logs.high))
