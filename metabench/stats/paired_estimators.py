r"""Two estimators on the same tasks: angle, error and break-even (NumPy and SciPy only).

With a and b the two vectors of one task, all follows from the moments of a, of b and of a - b,
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

LEAST_LOW_END = 0.1  # of |E a|^2: at 16 tasks and zero mean, 8 % of low ends exceed zero
ERRORS_BELOW_ONE = 4  # from which on a cosine's interval is the jackknife's alone


def cosine(first: Moments, second: Moments, difference: Moments) -> Interval:
    """Return the interval of the cosine of E a and E b.

    Well below 1 it is a jackknife of the inverse hyperbolic tangent. Near 1, which the estimate may
    exceed, it is that of 1 - cosine, :math:`|E (a - s b)|^2 / 2 |E a|^2` with s the ratio of the
    norms, whose score interval may end at 0. In between, the wider ends of both.

    Args:
        first: moments of a.
        second: moments of b.
        difference: moments of a - b.

    Returns:
        The interval; NaN where the norm of a mean is not distinguishable from zero.
    """
    (_, a), (_, b), (_, d) = first.estimates(), second.estimates(), difference.estimates()
    sizes = [mean_norm_interval(each) for each in (first, second)]
    resolved = all(size.low > size.value * LEAST_LOW_END for size in sizes)
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
        if 1 - value < ERRORS_BELOW_ONE * jackknife_error(left_out)
        else clear
    )


def _near_one(value: float, first: Moments, second: Moments, difference: Moments) -> Interval:
    """Return the interval of a cosine from that of 1 - cosine."""
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
    """Return the interval of the mean squared error |bias|^2 + V1 / B of a batch of B tasks.

    It combines the intervals of the two terms, which may be skewed, and their correlation (Zou &
    Donner, 2008, https://doi.org/10.1002/sim.3095). A jackknife of the sum covers 83 % where a
    small bias dominates.

    Args:
        moments: of the estimator's meta-gradients.
        bias: moments of their difference from the exact ones; None: no bias.
        B: tasks in a batch; may be a fraction.
        norm: the interval of |bias|^2.
        spread_of: the interval of V1.
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
    """Return the half width of a sum from those of its terms and their correlation `tie`."""
    if max(first, second) == math.inf:
        return math.inf
    return math.sqrt(max(first**2 + second**2 + 2 * tie * first * second, 0.0))


def break_even(
    exact: Moments, other: Moments, bias: Moments, cost: tuple[float, float] = (1.0, 1.0)
) -> Interval:
    r"""Return the interval of the budget above which the exact estimator has the smaller error.

    With c the cost of one task, a budget b gives the squared errors :math:`c_e V_e / b` and
    :math:`|bias|^2 + c_o V_o / b`. Costs of 1 make the budget a task batch B*, seconds make it
    seconds. It is zero where the exact estimator is better at any budget, and unbounded where the
    bias is not distinguishable from zero.

    Args:
        exact: moments of the exact estimator's meta-gradients.
        other: moments of the other estimator's.
        bias: moments of their difference.
        cost: of one task, for the exact and for the other estimator.
    """
    excess = exact.estimates()[0].scaled(cost[0]) + other.estimates()[0].scaled(-cost[1])
    return ratio_interval(excess, bias)


def variance_ratio(top: Moments, bottom: Moments) -> Interval:
    """Return the interval of a ratio of variances on the same tasks, by a log jackknife."""
    above, below = top.estimates()[0], bottom.estimates()[0]
    if not (0 < above.value < math.inf and 0 < below.value < math.inf):
        return Interval(math.nan, math.nan, math.nan)
    share: Estimate = above.share(below)
    reach = t_quantile(top.n - 1) * jackknife_error(np.log(share.left_out))
    return Interval(share.value, share.value * math.exp(-reach), share.value * math.exp(reach))


def skewed_variance_ratio(top: Moments, bottom: Moments) -> Interval:
    """Return the interval of a ratio of variances: wider ends of the jackknife's and Hall's.

    Where a few large vectors are clipped, the jackknife's alone covered 89 %, both 97 %.
    """
    found = variance_ratio(top, bottom)
    if not (found.low > 0 and found.high < math.inf):
        return found
    share = top.estimates()[0].share(bottom.estimates()[0])
    logs = Estimate(math.log(share.value), np.log(share.left_out)).hall_interval()
    return found.widened(math.exp(logs.low), math.exp(logs.high))
