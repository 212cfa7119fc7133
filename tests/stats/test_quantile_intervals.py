"""Do order-statistic intervals cover, whatever the distribution?"""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats as scipy_stats

from metabench.stats.quantile_intervals import quantile_interval


@pytest.mark.parametrize("share", [0.05, 0.5, 0.95])
@pytest.mark.parametrize("n", [64, 128])
def test_the_interval_covers_a_heavy_tailed_quantile(n, share):
    rng = np.random.default_rng(0)
    law = scipy_stats.cauchy()
    truth = law.ppf(share)

    found = [quantile_interval(rng.standard_cauchy(n), share) for _ in range(1000)]

    hits = np.mean([low <= truth <= high for _, low, high in found])
    assert 0.94 <= hits <= 0.995


def test_the_ranks_are_those_of_scipys_binomial_interval():
    values = np.arange(1.0, 42.0)

    found = quantile_interval(values)

    other = scipy_stats.quantile_test(values, q=0.0, p=0.5).confidence_interval(0.95)
    assert (found.low, found.high) == (other.low, other.high)


def test_too_few_values_leave_an_end_open():
    assert quantile_interval(np.array([3.0])) == (3.0, -math.inf, math.inf)
    assert quantile_interval(np.arange(20.0), 0.95).high == math.inf


def test_what_diverged_counts_as_the_largest():
    values = np.array([1.0, 2.0, 3.0, 4.0, 5.0, 6.0, math.inf, math.inf])

    value, low, high = quantile_interval(values)

    assert (value, low, high) == (4.5, 1.0, math.inf)


def test_the_middle_of_an_even_number_is_the_mean_of_two():
    assert quantile_interval(np.array([4.0, 1.0, 2.0, 9.0])) == (3.0, -math.inf, math.inf)
