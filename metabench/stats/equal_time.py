"""Errors of two estimators for equal time; intervals include that of the time of one task."""

from __future__ import annotations

import math
from collections.abc import Callable

from metabench.stats import paired_estimators
from metabench.stats.intervals import Interval
from metabench.stats.moments import Moments, variance_interval


def tasks_in(seconds: float, each: Interval) -> Interval:
    """Return the number of tasks that fit into a time, with the interval of one task's time.

    >>> tasks_in(1.0, Interval(0.5, 0.25, 1.0))
    Interval(value=2.0, low=1.0, high=4.0)

    Args:
        seconds: the time.
        each: time of one task, with its interval [seconds].
    """
    return Interval(seconds / each.value, _over(seconds, each.high), _over(seconds, each.low))


def tasks_for_equal_time(B: float, exact: Interval, other: Interval) -> Interval:
    """Return how many tasks of one estimator take the time of B tasks of another.

    Args:
        B: tasks of the other, exact estimator.
        exact: time of one of its tasks [seconds].
        other: time of one task of the estimator that is asked for [seconds].
    """
    low, high = _over(B * exact.low, other.high), _over(B * exact.high, other.low)
    return Interval(B * exact.value / other.value, low, high)


def squared_error(
    moments: Moments,
    bias: Moments | None,
    B: Interval,
    spread_of: Callable[[Moments], Interval] = variance_interval,
) -> Interval:
    """Return the mean squared error of B tasks, where B has an interval itself.

    The low end is that of the most tasks, the high end that of the fewest. Without an interval of B
    there is none of the error.

    Args:
        moments: of the estimator's meta-gradients.
        bias: moments of their difference from the exact ones; None: no bias.
        B: tasks, with their interval.
        spread_of: the interval of the variance.
    """

    def at(tasks: float) -> Interval:
        return paired_estimators.squared_error(moments, bias, tasks, spread_of=spread_of)

    if not (B.low > 0 and B.high < math.inf):
        return Interval(at(B.value).value, math.nan, math.nan)
    return Interval(at(B.value).value, at(B.high).low, at(B.low).high)


def break_even(
    exact: Moments, other: Moments, bias: Moments, seconds: tuple[Interval, Interval]
) -> Interval:
    """Return the interval of the time above which the exact estimator has the smaller error.

    It grows with the time of an exact task and falls with that of the other's, so that the ends of
    both intervals give its ends.

    Args:
        exact: moments of the exact estimator's meta-gradients.
        other: moments of the other estimator's.
        bias: moments of their difference.
        seconds: time of one task, of the exact and of the other estimator.
    """
    mine, others = seconds

    def at(one: float, two: float) -> Interval:
        return paired_estimators.break_even(exact, other, bias, (one, two))

    value = at(mine.value, others.value).value
    if not all(each.low > 0 and each.high < math.inf for each in seconds):
        return Interval(value, math.nan, math.nan)
    return Interval(value, at(mine.low, others.high).low, at(mine.high, others.low).high)


def _over(one: float, other: float) -> float:
    """Return a quotient, infinite for an unknown lower end of the time."""
    return one / other if other > 0 else math.inf
