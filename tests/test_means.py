"""Do intervals of means and ratios cover, and say when they can't?"""

from __future__ import annotations

import math

import numpy as np

from metabench.means import mean_interval, ratio_of_means


def covered(interval, value: float) -> bool:
    return interval.low <= value <= interval.high


def test_means_cover_and_one_number_has_no_interval():
    generator = np.random.default_rng(1)
    hits = [covered(mean_interval(generator.normal(2, 3, 20)), 2) for _ in range(2000)]

    assert 0.935 <= np.mean(hits) <= 0.965
    assert math.isnan(mean_interval(np.ones(1)).low)


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
