"""Do the tail statistics find what was put in?"""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats as scipy_stats

from metabench.problems.quadratic_moments import gaussian_top_share
from metabench.stats import tail_index
from metabench.stats.moments import Moments


@pytest.mark.parametrize("index", [1.5, 3.0])
def test_hill_intervals_cover_the_index_of_a_power_law(index):
    rng = np.random.default_rng(0)

    found = [tail_index.hill(rng.pareto(index, 1000) + 1) for _ in range(400)]

    hits = sum(each.low <= index <= each.high for each in found)
    assert scipy_stats.binomtest(hits, 400, 0.95).pvalue > 1e-3


def test_hill_is_the_mean_excess_of_logarithms():
    x = np.exp(np.arange(1.0, 301.0) / 10)  # the top 15 lie 0.1, 0.2, .., 1.5 above the 16th

    assert tail_index.hill(x).value == pytest.approx(1 / 0.8)


def test_few_numbers_have_no_index_and_equal_ones_an_infinite_one():
    assert math.isnan(tail_index.hill(np.arange(1.0, 100.0)).value)
    assert tail_index.hill(np.ones(1000)).value == math.inf


def test_a_small_sample_tells_vectors_without_second_moments():
    """Cauchy numbers, of index 1, beside normal ones of three dimensions."""
    rng = np.random.default_rng(0)
    light = [Moments.from_samples(rng.standard_normal((32, 3))) for _ in range(200)]
    heavy = [Moments.from_samples(rng.standard_cauchy((32, 1))) for _ in range(200)]

    refused = [
        np.mean([tail_index.lowest_tail_index(each) < tail_index.MOMENTS for each in both])
        for both in (light, heavy)
    ]

    assert refused[0] < 0.1
    assert refused[1] > 0.9
    assert tail_index.lowest_tail_index(light[0], heavy[0]) == tail_index.lowest_tail_index(
        heavy[0]
    )


def test_the_top_share_of_gaussians_is_the_closed_form():
    x = (np.random.default_rng(1).standard_normal((400_000, 3)) ** 2).sum(1)

    found = tail_index.top_share(x)

    assert found.low < gaussian_top_share(3, tail_index.TOP) < found.high
    assert found.value == pytest.approx(np.sort(x)[-4000:].sum() / x.sum())


def test_leaving_a_number_out_is_measuring_without_it():
    largest = np.sort(np.random.default_rng(2).pareto(3, 777))[::-1]

    left_out = tail_index._top_sums(largest)[1:]

    for i in (0, 3, 7, 8, 50, 776):
        assert left_out[i] == pytest.approx(
            tail_index._top_sums(np.delete(largest, i))[0], rel=1e-12
        )


def test_a_small_sample_has_a_top_share_without_an_interval():
    found = tail_index.top_share(np.arange(1.0, 501.0))

    assert found.value == pytest.approx((500 + 499 + 498 + 497 + 496) / (500 * 501 / 2))
    assert math.isnan(found.low)
