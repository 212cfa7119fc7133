"""Is the permutation test of an order exact, and does it see neighbors that vary together?"""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy import stats

from metabench.stats import order_test as tested
from metabench.stats.order_test import LEVEL, batch_sizes, order_test, statistics


def clustered(seed, n=512, cluster=8, share=0.5, sign=1.0):
    generator = np.random.default_rng(seed)
    common = generator.standard_normal((n // cluster, 1, 3))
    signs = np.where(np.arange(cluster) % 2, sign, 1.0)[:, None]
    return (generator.standard_normal((n // cluster, cluster, 3)) + share * signs * common).reshape(
        n, 3
    )


def test_the_statistic_is_the_squares_of_batch_sums_over_their_size():
    vectors = np.random.default_rng(0).standard_normal((19, 2))

    expected = sum(
        sum((vectors[i : i + B].sum(0) ** 2).sum() for i in range(0, 19 - B + 1, B)) / B
        for B in (2, 4, 8)
    )
    found = statistics(np.stack([vectors.T, 2 * vectors.T]), [2, 4, 8])

    assert found == pytest.approx([expected, 4 * expected], rel=1e-12)


def test_the_p_value_is_that_of_all_permutations(monkeypatch):
    """Six vectors have 720 orders."""
    monkeypatch.setattr(tested, "FEWEST_BATCHES", 3)
    monkeypatch.setattr(tested, "ENOUGH_AS_EXTREME", 10**9)
    vectors = np.random.default_rng(3).standard_normal((6, 2)) + np.arange(6)[:, None] / 3
    centered = vectors - vectors.mean(0)
    every = statistics(centered.T[:, list(itertools.permutations(range(6)))].swapaxes(0, 1), [2])
    distance = np.abs(every - every.mean())

    found = order_test(vectors, seed=1)

    assert found is not None
    exact = (distance >= distance[0] * (1 - 1e-9)).mean()
    assert found.p == pytest.approx(exact, abs=4 * np.sqrt(exact * (1 - exact) / 9999))
    assert found.ratio == pytest.approx(every[0] / every.mean())


@pytest.mark.parametrize("power", [1, 5])
def test_p_values_of_random_orders_are_uniform_or_larger_however_heavy_the_tails(power):
    counts = dict.fromkeys((0.01, 0.05, 0.25), 0)
    for seed in range(1000):
        vectors = np.random.default_rng(seed).standard_normal((64, 2)) ** power
        found = order_test(vectors, seed)
        assert found is not None
        for level in counts:
            counts[level] += found.p <= level

    for level, count in counts.items():
        assert stats.binomtest(count, 1000, level).pvalue > 1e-3, (level, count)


@pytest.mark.parametrize(("sign", "above"), [(1.0, True), (-1.0, False)])
def test_neighbors_that_vary_together_and_those_that_balance_are_told_apart(sign, above):
    found = [order_test(clustered(seed, share=1.0, sign=sign), seed) for seed in range(5)]

    assert all(each is not None and each.p <= LEVEL for each in found)
    assert all(each is not None and (each.ratio > 1) == above for each in found)


def test_few_or_equal_vectors_are_not_tested_and_huge_ones_are():
    assert batch_sizes(31) == []
    assert order_test(np.random.default_rng(0).standard_normal((31, 2)), 0) is None
    assert order_test(np.ones((64, 2)), 0) is None
    vectors = clustered(1)
    assert order_test(1e160 * vectors, 0) == pytest.approx(order_test(vectors, 0))
