"""Do tables over seeds give an interval only where one covers, and none that can't be?"""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from metabench.records.rows import Row
from metabench.report.seed_estimates import NONNEGATIVE, Estimate, combined, fieller


def rows(values, quantity="growth", half=None):
    ends = [(None, None) if half is None else (v - half, v + half) for v in values]
    return [Row(quantity, value=v, low=e[0], high=e[1]) for v, e in zip(values, ends, strict=True)]


@pytest.mark.parametrize("values", [[1.0, 3.0], [0.2, 5.0, 0.1]])
def test_two_or_three_seeds_are_listed_without_an_interval(values):
    found = combined(rows(values, "task_variance"))

    assert (found.low, found.high, found.points) == (None, None, tuple(values))
    assert str(found) == ", ".join(f"{v:g}" for v in values)


def test_from_four_seeds_on_the_interval_is_students():
    values = [1.0, -2.5, 4.0, 0.5, 2.0]

    found = combined(rows(values))

    expected = stats.t.interval(0.95, 4, np.mean(values), stats.sem(values))
    assert found[:3] == pytest.approx((np.mean(values), *expected))


def test_equal_numbers_have_the_interval_of_their_own_uncertainty():
    """Each seed's interval is .0625 +- .15: the mean of four is as uncertain as those imply."""
    found = combined(rows([0.0625] * 4, "growth", half=0.15))

    half = stats.t.ppf(0.975, 3) * 0.15 / stats.norm.ppf(0.975) / 2
    assert found[:3] == pytest.approx((0.0625, 0.0625 - half, 0.0625 + half), rel=1e-4)


def test_equal_numbers_of_unknown_uncertainty_get_no_interval():
    assert combined(rows([0.0625] * 4))[:3] == (0.0625, None, None)


@pytest.mark.parametrize("quantity", sorted(NONNEGATIVE - {"noise_scale"}))
def test_what_cannot_be_negative_has_no_negative_number(quantity):
    found = combined(rows([0.1, 90.0, 0.2, 0.3], quantity))
    below = combined(rows([-0.3, 0.1, -0.2, 0.1], quantity))

    assert found[:3] == pytest.approx((22.65, 0, found.high))
    assert below[:3] == pytest.approx((0, 0, below.high))
    assert found.high > found.value
    assert below.high > 0


@pytest.mark.parametrize("status", ["unbounded", "diverged"])
def test_a_seed_without_an_end_leaves_counts_and_the_median(status):
    given = rows([1.0, 2.0, 3.0, 40.0, 5.0], half=0.5)
    value = None if status == "diverged" else 40.0
    given[3] = Row("growth", value=value, status=status)

    found = combined(given)

    kept = [1.0, 2.0, 3.0, 5.0] if value is None else [1.0, 2.0, 3.0, 40.0, 5.0]
    assert found[:3] == (np.median(kept), None, None)
    assert str(found).startswith(f"median {np.median(kept):g} of {len(kept)} seeds")


def noise_scales(tops, bottoms):
    """Rows of noise scales and their parts; a cell without a positive bottom is unbounded."""
    parts = list(zip(rows(tops, "task_variance"), rows(bottoms, "mean_norm_squared"), strict=True))
    whole = [
        Row("noise_scale", value=max(v, 0) / m) if m > 0 else Row("noise_scale", status="unbounded")
        for v, m in zip(tops, bottoms, strict=True)
    ]
    return whole, parts


def test_a_noise_scale_is_the_ratio_of_averages_not_the_average_of_ratios():
    """One seed whose |E g|^2 is near zero, or below it, must not decide the mean."""
    tops, bottoms = [8.0, 8.5, 7.5, 8.0], [2.0, 0.01, 3.0, -0.4]
    found = combined(*noise_scales(tops, bottoms))

    assert found.value == pytest.approx(np.mean(tops) / np.mean(bottoms))
    assert found.seeds == 4
    assert found.low >= 0


def test_a_ratio_without_its_parts_has_no_mean():
    found = combined(rows([6.0, 7.0, 8.0, 900.0], "noise_scale", half=1.0))

    assert str(found) == "median 7.5 of 4 seeds"


@pytest.mark.parametrize("seed", range(20))
def test_fiellers_interval_holds_every_ratio_that_students_t_does_not_reject(seed):
    """By a test of top - x bottom at every x of a fine grid."""
    drawn = np.random.default_rng(seed)
    tops, bottoms = drawn.normal(4, 2, 5), drawn.normal(1, 0.2 + 0.1 * seed, 5)
    _, low, high = fieller(rows(tops), rows(bottoms))
    low, high = low or 0.0, math.inf if high is None else high

    for x in np.geomspace(1e-3, 1e3, 500):
        p = stats.ttest_1samp(tops - x * bottoms, 0).pvalue
        if abs(p - 0.05) < 1e-6:
            continue
        if p > 0.05:
            assert low <= x <= high
        elif math.isfinite(high):
            assert not low < x < high


@pytest.mark.parametrize("seeds", [4, 8])
def test_fiellers_interval_covers_the_ratio(seeds):
    drawn = np.random.default_rng(seeds)
    truth, covered = 8.0 / 2.0, 0
    for _ in range(2000):
        tops, bottoms = drawn.normal(8, 1.5, seeds), drawn.normal(2, 0.3, seeds)
        _, low, high = fieller(rows(tops), rows(bottoms))
        covered += (low or 0.0) <= truth <= (math.inf if high is None else high)

    assert 0.935 <= covered / 2000 <= 0.975


def test_one_seed_keeps_its_own_interval():
    assert combined([Row("v", value=2.0, low=1.0, high=3.0)]) == Estimate(2.0, 1.0, 3.0, 1)
