"""Do intervals of means and ratios cover, and say when they can't?"""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats as scipy_stats

from metabench.stats.mean_intervals import (
    mean_interval,
    mean_share_interval,
    ratio_of_means,
    skewed_mean_interval,
    squared_norm_interval,
)
from metabench.stats.moments import Moments, mean_norm_interval
from metabench.stats.proportions import share_interval


def covered(interval, value: float) -> bool:
    return interval.low <= value <= interval.high


def test_means_cover_and_one_number_has_no_interval():
    generator = np.random.default_rng(1)
    hits = [covered(mean_interval(generator.normal(2, 3, 20)), 2) for _ in range(2000)]

    assert 0.935 <= np.mean(hits) <= 0.965
    assert math.isnan(mean_interval(np.ones(1)).low)


def test_the_interval_of_a_ratio_is_the_jackknife_of_its_logarithm():
    """Against delete-one ratios computed one by one; six tasks, where n - 1 matters."""
    generator = np.random.default_rng(3)
    top, bottom = generator.gamma(9.0, 1.0, (2, 6))

    found = ratio_of_means(top, bottom, 2.0)

    kept = [np.arange(6) != i for i in range(6)]
    logs = np.array([np.log(top[k].mean() ** 2 / bottom[k].mean()) for k in kept])
    reach = scipy_stats.t.ppf(0.975, 5) * np.sqrt(5 * logs.var())
    value = top.mean() ** 2 / bottom.mean()
    assert tuple(found) == pytest.approx(
        (value, value * np.exp(-reach), value * np.exp(reach)), rel=1e-9
    )


def test_ratios_of_means_cover():
    generator = np.random.default_rng(2)
    hits = []
    for _ in range(2000):
        bottom = generator.gamma(3.0, 1.0, 100)
        top = bottom + generator.gamma(1.0, 1.0, 100)
        hits.append(covered(ratio_of_means(top, bottom, 2.0), 16 / 3))

    assert 0.925 <= np.mean(hits) <= 0.965
    assert not ratio_of_means(np.zeros(5), np.ones(5)).value
    assert math.isnan(ratio_of_means(np.ones(5), np.zeros(5)).value)


def test_a_skewed_mean_covers_where_students_t_does_not():
    """One number in fifteen is 20 times the rest: the mean of 60 is mostly too small."""
    generator = np.random.default_rng(3)
    plain, leaning = [], []
    for _ in range(2000):
        sample = np.where(generator.random(60) < 1 / 15, 20.0, 1.0) * generator.random(60)
        mean = (1 / 15 * 20 + 14 / 15) / 2
        plain.append(covered(mean_interval(sample), mean))
        leaning.append(covered(skewed_mean_interval(sample), mean))

    assert np.mean(plain) < 0.9
    assert np.mean(leaning) > np.mean(plain) + 0.03
    assert np.mean([covered(skewed_mean_interval(generator.random(60)), 0.5)
                    for _ in range(1000)]) < 0.99  # fmt: skip
    assert math.isnan(skewed_mean_interval(np.ones(2)).low)


def test_mean_shares_cover_where_few_tasks_make_them():
    """Shares of six eigenvalues, of which 0.02 lie below: three tasks of 40 make them all."""
    generator = np.random.default_rng(4)
    for chance, least in ((0.02, 0.93), (0.4, 0.93)):
        hits = [
            covered(mean_share_interval(generator.binomial(6, chance, 40) / 6), chance)
            for _ in range(2000)
        ]
        assert least <= np.mean(hits) <= 0.995

    assert mean_share_interval(np.zeros(40)) == share_interval(0, 40)
    assert mean_share_interval(np.full(3, 0.25)) == (0.25, 0.25, 0.25)
    whole = np.repeat([0.0, 1.0], 20)  # shares of nothing or all: the exact limits, or so
    near, exact = mean_share_interval(whole), share_interval(20, 40)
    assert abs(near.low - exact.low) < 0.01
    assert math.isnan(mean_share_interval(np.ones(1)).low)


def test_squared_norms_cover_where_one_direction_makes_the_noise():
    """Noise of 0.54 in one coordinate, 0.17 and 0.03 in the others, as log-cosh bowls have it."""
    generator, mean = np.random.default_rng(4), np.array([-0.14, 0.11, 0.08])
    samples = [
        mean + generator.normal(size=(64, 3)) * np.array([0.54, 0.17, 0.03]) for _ in range(800)
    ]

    hits = [covered(squared_norm_interval(each), mean @ mean) for each in samples]
    score = [
        covered(mean_norm_interval(Moments.from_samples(each)), mean @ mean) for each in samples
    ]

    assert np.mean(score) < 0.93 < 0.935 <= np.mean(hits) <= 0.975
