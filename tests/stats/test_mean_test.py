"""Does the test of a mean keep its level, and see a mean in any direction?"""

from __future__ import annotations

import numpy as np
import pytest

from metabench.stats.mean_test import mean_is_zero, mean_squared

GROUPS = np.arange(60) % 2


def drawn(seed, shift=0.0):
    """Skewed vectors of unequal variances, whose means are zero but for a shift."""
    generator = np.random.default_rng(seed)
    skewed = generator.exponential(size=(60, 5)) - 1
    return skewed * np.array([3.0, 1, 1, 0.1, 0.1]) + shift * np.array([0, 0, 0, 1.0, 1.0])


def test_a_mean_of_zero_is_rejected_about_as_often_as_the_level_says():
    rejected = sum(mean_is_zero(drawn(seed), GROUPS, seed) <= 0.05 for seed in range(120))

    assert rejected <= 13  # the 99.5 % quantile of a binomial of 120 and .05


def test_means_that_cancel_over_groups_are_seen():
    sample = drawn(0)
    sample[GROUPS == 0] += 1.5
    sample[GROUPS == 1] -= 1.5

    assert mean_is_zero(sample, GROUPS, 0) < 0.01
    assert mean_squared(sample, GROUPS) == pytest.approx(5 * 1.5**2, rel=0.4)


def test_differences_at_round_off_are_no_differences():
    sample = 1e-15 * (1 + drawn(0))

    assert mean_is_zero(sample, GROUPS, 0) < 0.05
    assert mean_is_zero(sample, GROUPS, 0, scale=1.0) > 0.999
