"""Is the jackknife the textbook's, and do skewed intervals cover?"""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats as scipy_stats

from metabench.stats.intervals import Estimate, jackknife_error, t_quantile


def test_the_jackknife_of_a_mean_is_its_standard_error():
    """In one dimension with delete-one means, the jackknife is the textbook formula."""
    x = np.random.default_rng(1).standard_normal(30)
    left_out = (x.sum() - x) / 29

    assert jackknife_error(left_out) == pytest.approx(x.std(ddof=1) / math.sqrt(30), rel=1e-12)


def test_quantiles_are_those_of_scipy():
    for freedom in (1.5, 7.0, 4095.0):
        expected = scipy_stats.t(freedom).ppf(0.975)
        assert t_quantile(freedom) == pytest.approx(expected, rel=1e-10)


def test_a_skewed_interval_has_halls_upper_end_where_a_few_tasks_are_large():
    """Against Hall's transformation solved by bisection for the mean of exponential numbers."""
    each = np.random.default_rng(0).exponential(size=200)
    estimate = Estimate.mean(each)

    found = estimate.skewed()

    error = each.std(ddof=1) / np.sqrt(200)
    skew = ((each - each.mean()) ** 3).mean() / each.std() ** 3 / np.sqrt(200)
    low, high = -50.0, 50.0
    for _ in range(100):
        t = (low + high) / 2
        straight = t + skew * t**2 / 3 + skew**2 * t**3 / 27 + skew / 6
        low, high = (t, high) if straight < -t_quantile(199) else (low, t)
    assert found.high == pytest.approx(each.mean() - error * t, rel=1e-6)
    assert found.low <= estimate.interval().low or found.low < found.value


def test_skewed_intervals_cover_where_the_logarithms_do_not():
    """Means of 128 squares of a product: the setting in which 92 % were covered before."""
    rng, hits, repetitions = np.random.default_rng(1), 0, 1000

    for _ in range(repetitions):
        each = (rng.standard_normal((128, 2)) * rng.standard_normal((128, 1))) ** 2
        interval = Estimate.mean(each.sum(1)).skewed()
        hits += interval.low <= 2.0 <= interval.high

    # at a true coverage of 95 %, 928 hits or fewer have a probability of 0.1 %
    assert hits > 928
