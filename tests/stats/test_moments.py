"""Are the moments unbiased and the intervals what their formulas say?"""

from __future__ import annotations

import math

import numpy as np
import pytest
from samples import sample
from scipy import stats as scipy_stats

from metabench.stats.intervals import t_quantile
from metabench.stats.moments import (
    Moments,
    mean_norm_interval,
    null_variance,
    skewed_variance_interval,
    tasks_to_detect,
    variance_interval,
)


def test_moments_are_the_means_of_the_gram_matrix():
    X = sample(9)
    gram = X @ X.T
    diagonal, off = gram.trace() / 9, (gram.sum() - gram.trace()) / (9 * 8)

    moments = Moments.from_samples(X)

    assert moments.variance == pytest.approx(diagonal - off, rel=1e-12)
    assert moments.mean_norm_squared == pytest.approx(off, rel=1e-12)


def test_leaving_each_out_is_what_it_says():
    X = sample(7)

    variance, squared = Moments.from_samples(X).leave_one_out()

    for i in range(7):
        rest = Moments.from_samples(np.delete(X, i, axis=0))
        assert variance[i] == pytest.approx(rest.variance, rel=1e-12)
        assert squared[i] == pytest.approx(rest.mean_norm_squared, rel=1e-10)


def test_a_large_mean_does_not_cancel_the_variance():
    X = sample(50)

    moved = Moments.from_samples(X + 1e8)

    assert moved.variance == pytest.approx(Moments.from_samples(X).variance, rel=1e-6)


def test_both_moments_are_unbiased():
    found = np.array(
        [
            [m.variance, m.mean_norm_squared]
            for m in (Moments.from_samples(sample(4, seed=s)) for s in range(8000))
        ]
    )

    z = (found.mean(0) - [1 + 4 + 9 + 16, 4]) / (found.std(0) / math.sqrt(len(found)))

    assert np.abs(z).max() < 4


def test_score_intervals_end_where_the_estimate_is_just_refuted():
    moments = Moments.from_samples(sample(60, mean=1.0))
    slope, floor = null_variance(moments)

    found = mean_norm_interval(moments)

    for end in (found.low, found.high):
        error = math.sqrt(slope * end + floor)
        assert abs(end - found.value) == pytest.approx(t_quantile(59) * error, rel=1e-9)


@pytest.mark.parametrize("mean", [0.0, 0.05, 0.1, 0.5])
@pytest.mark.parametrize("dim", [1, 2, 30])
def test_score_intervals_cover_near_zero_and_far_from_it(dim, mean):
    rng = np.random.default_rng(dim)
    truth, hits = dim * mean**2, 0
    for _ in range(400):
        found = mean_norm_interval(Moments.from_samples(mean + rng.standard_normal((200, dim))))
        hits += found.low <= truth <= found.high

    assert scipy_stats.binomtest(hits, 400, 0.95).pvalue > 1e-4 or 380 <= hits <= 396


def test_tasks_to_detect_are_about_what_it_takes():
    """With the predicted number of tasks, most samples resolve the mean."""
    moments = Moments.from_samples(sample(100, dim=4, seed=3, mean=0.2))
    truth = moments._replace(mean_squared=4 * 0.2**2 + 30 / 100)
    assert mean_norm_interval(truth).low <= 0

    needed = tasks_to_detect(truth)

    hits = [
        mean_norm_interval(Moments.from_samples(sample(int(needed), seed=s, mean=0.2))).low > 0
        for s in range(200)
    ]
    assert 0.5 < np.mean(hits) < 0.999


@pytest.mark.parametrize("seed", range(3))
def test_the_variance_interval_of_normals_is_near_the_exact_one(seed):
    """In one dimension the exact interval is chi-square; jackknife widths differ by its error."""
    x = np.random.default_rng(seed).standard_normal((4000, 1))
    moments = Moments.from_samples(x)
    low, high = scipy_stats.chi2(3999).ppf([0.975, 0.025])

    found = variance_interval(moments)

    assert found.low == pytest.approx(moments.variance * 3999 / low, rel=0.01)
    assert found.high == pytest.approx(moments.variance * 3999 / high, rel=0.01)


def test_the_variance_of_numbers_of_which_few_are_large_is_covered():
    """Of fair signs times log-normal numbers; the logarithm's interval alone lies too low."""
    rng = np.random.default_rng(0)
    samples = [
        Moments.from_samples(rng.choice([-1, 1], (128, 1)) * rng.lognormal(0, 0.6, (128, 1)))
        for _ in range(600)
    ]
    truth = np.exp(2 * 0.6**2)

    def hits(interval):
        return sum(found.low <= truth <= found.high for found in map(interval, samples))

    assert hits(variance_interval) < 0.93 * 600 < hits(skewed_variance_interval)
