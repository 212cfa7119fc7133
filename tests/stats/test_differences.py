"""Is the interval of a difference that of independent numbers, or wide enough for any others?"""

from __future__ import annotations

import math

import pytest

from metabench.stats.differences import difference
from metabench.stats.intervals import Interval

Z = 1.959963984540054


def normal(value: float, error: float) -> Interval:
    return Interval(value, value - Z * error, value + Z * error)


def test_of_independent_normal_numbers_it_is_the_exact_interval():
    found = difference(normal(2.0, 0.3), normal(5.0, 0.4), dependent=False)

    half = Z * math.sqrt(0.3**2 + 0.4**2)
    assert found == pytest.approx((3.0, 3.0 - half, 3.0 + half), rel=1e-12)


@pytest.mark.parametrize("correlation", [-1.0, -0.5, 0.0, 0.9, 1.0])
def test_of_dependent_numbers_it_is_never_too_narrow(correlation):
    found = difference(normal(2.0, 0.3), normal(5.0, 0.4), dependent=True)

    exact = Z * math.sqrt(0.3**2 + 0.4**2 - 2 * correlation * 0.3 * 0.4)
    assert found.high - found.value >= exact - 1e-12
    assert found.value - found.low >= exact - 1e-12


def test_an_end_that_is_missing_makes_the_interval_unbounded_there():
    found = difference(normal(2.0, 0.3), Interval(5.0, 4.0, math.inf), dependent=False)

    assert found.high == math.inf
    assert math.isfinite(found.low)
