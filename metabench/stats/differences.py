"""The difference of two numbers from their intervals."""

from __future__ import annotations

import math

from metabench.stats.intervals import Interval


def difference(one: Interval, other: Interval, dependent: bool) -> Interval:
    r"""Return other - one, with an interval made of the two intervals.

    Of independent numbers, the distances from the values to the ends add in squares (Newcombe,
    1998, https://doi.org/10.1002/(SICI)1097-0258(19980430)17:8<857::AID-SIM777>3.0.CO;2-E). Of
    numbers from the same tasks, whose correlation the intervals don't show, they add as they are:
    an upper bound for every correlation.

    Args:
        one: the first number with its interval.
        other: the second.
        dependent: whether they were measured on the same tasks.

    >>> difference(Interval(1.0, 0.7, 1.3), Interval(2.0, 1.6, 2.4), dependent=False)
    Interval(value=1.0, low=0.5, high=1.5)
    >>> difference(Interval(1.0, 0.5, 1.5), Interval(2.0, 1.5, 2.5), dependent=True)
    Interval(value=1.0, low=0.0, high=2.0)
    """
    join = (lambda a, b: a + b) if dependent else math.hypot
    value = other.value - one.value
    low = value - join(one.high - one.value, other.value - other.low)
    high = value + join(one.value - one.low, other.high - other.value)
    return Interval(value, low, high)
