"""Are the moments unbiased and the intervals what their formulas say?"""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats as scipy_stats

from metabench.stats import estimates
from metabench.stats.estimates import Moments


def sample(n: int, dim: int = 4, seed: int = 0, mean: float = 1.0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return mean + rng.standard_normal((n, dim)) * np.arange(1, dim + 1)


def test_moments_are_the_means_of_the_gram_matrix():
    X = sample(9)
    gram = X @ X.T
    diagonal, off = gram.trace() / 9, (gram.sum() - gram.trace()) / (9 * 8)

    moments = Moments.of(X)

    assert moments.variance == pytest.approx(diagonal - off, rel=1e-12)
    assert moments.mean_norm_squared == pytest.approx(off, rel=1e-12)


def test_leaving_each_out_is_what_it_says():
    X = sample(7)

    variance, squared = Moments.of(X).without_each()

    for i in range(7):
        rest = Moments.of(np.delete(X, i, axis=0))
        assert variance[i] == pytest.approx(rest.variance, rel=1e-12)
        assert squared[i] == pytest.approx(rest.mean_norm_squared, rel=1e-10)


def test_a_large_mean_does_not_cancel_the_variance():
    X = sample(50)

    moved = Moments.of(X + 1e8)

    assert moved.variance == pytest.approx(Moments.of(X).variance, rel=1e-6)


def test_both_moments_are_unbiased():
    found = np.array(
        [
            [m.variance, m.mean_norm_squared]
            for m in (Moments.of(sample(4, seed=s)) for s in range(8000))
        ]
    )

    z = (found.mean(0) - [1 + 4 + 9 + 16, 4]) / (found.std(0) / math.sqrt(len(found)))

    assert np.abs(z).max() < 4


def test_the_jackknife_of_a_mean_is_its_standard_error():
    """In one dimension with delete-one means, the jackknife is the textbook formula."""
    x = np.random.default_rng(1).standard_normal(30)
    left_out = (x.sum() - x) / 29

    assert estimates.spread(left_out) == pytest.approx(x.std(ddof=1) / math.sqrt(30), rel=1e-12)


def test_quantiles_are_those_of_scipy():
    for freedom in (1.5, 7.0, 4095.0):
        expected = scipy_stats.t(freedom).ppf(0.975)
        assert estimates.quantile(freedom) == pytest.approx(expected, rel=1e-10)


@pytest.mark.parametrize(("hits", "count"), [(0, 10), (3, 10), (10, 10), (500, 4096)])
def test_share_intervals_are_the_exact_binomial_ones(hits, count):
    expected = scipy_stats.binomtest(hits, count).proportion_ci(0.95, "exact")

    found = estimates.share_interval(hits, count)

    assert found.low == pytest.approx(expected.low, abs=1e-12)
    assert found.high == pytest.approx(expected.high, abs=1e-12)


def test_score_intervals_end_where_the_estimate_is_just_refuted():
    moments = Moments.of(sample(60, mean=1.0))
    slope, floor = estimates._null_variance(moments)

    found = estimates.mean_norm_interval(moments)

    for end in (found.low, found.high):
        error = math.sqrt(slope * end + floor)
        assert abs(end - found.value) == pytest.approx(estimates.quantile(59) * error, rel=1e-9)


@pytest.mark.parametrize("mean", [0.0, 0.05, 0.1, 0.5])
@pytest.mark.parametrize("dim", [1, 2, 30])
def test_score_intervals_cover_near_zero_and_far_from_it(dim, mean):
    rng = np.random.default_rng(dim)
    truth, hits = dim * mean**2, 0
    for _ in range(400):
        found = estimates.mean_norm_interval(Moments.of(mean + rng.standard_normal((200, dim))))
        hits += found.low <= truth <= found.high

    assert scipy_stats.binomtest(hits, 400, 0.95).pvalue > 1e-4 or 380 <= hits <= 396


def test_the_noise_scale_keeps_exactly_the_ratios_that_are_not_refuted():
    moments = Moments.of(sample(60, mean=2.0))
    tops, bottoms = moments.without_each()
    cov, t = estimates.spreads(tops, bottoms), estimates.quantile(59)
    slope, floor = estimates._null_variance(moments)

    found = estimates.noise_scale_interval(moments)

    for ratio in (found.low, found.high):
        gap = moments.variance - ratio * moments.mean_norm_squared
        below = slope * moments.variance / ratio + floor
        error = math.sqrt(cov[0, 0] - 2 * ratio * cov[0, 1] + ratio**2 * below)
        assert abs(gap) == pytest.approx(t * error, rel=1e-9)
    assert found.low < found.value < found.high


def test_a_signal_that_cannot_be_told_from_zero_has_an_unbounded_noise_scale():
    unbounded = [
        estimates.noise_scale_interval(m).high == math.inf
        for m in (Moments.of(sample(40, seed=s, mean=0.0)) for s in range(200))
    ]
    unresolved = [
        estimates.mean_norm_interval(m).low <= 0
        for m in (Moments.of(sample(40, seed=s, mean=0.0)) for s in range(200))
    ]

    assert unbounded == unresolved
    assert np.mean(unbounded) > 0.9


def test_the_slope_of_exact_power_laws_is_found_and_bracketed():
    """Variances 1/B^p with the same relative noise at each B: slope -p."""
    sizes = np.array([1.0, 2.0, 4.0, 8.0, 16.0])
    for power in (1.0, 0.5):
        samples = [
            Moments.of(sample(2000, seed=int(B), mean=0.0) * B ** (-power / 2)) for B in sizes
        ]

        line = estimates.log_slope(sizes, samples)

        assert line.slope == pytest.approx(-power, abs=4 * line.error)
        assert 0 < line.error < 0.05


def test_tasks_to_detect_are_about_what_it_takes():
    """With the predicted number of tasks, most samples resolve the mean."""
    moments = Moments.of(sample(100, dim=4, seed=3, mean=0.2))
    truth = moments._replace(mean_squared=4 * 0.2**2 + 30 / 100)
    assert estimates.mean_norm_interval(truth).low <= 0

    needed = estimates.tasks_to_detect(truth)

    hits = [
        estimates.mean_norm_interval(Moments.of(sample(int(needed), seed=s, mean=0.2))).low > 0
        for s in range(200)
    ]
    assert 0.5 < np.mean(hits) < 0.999


@pytest.mark.parametrize("seed", range(3))
def test_the_variance_interval_of_normals_is_near_the_exact_one(seed):
    """In one dimension the exact interval is chi-square; jackknife widths differ by its error."""
    x = np.random.default_rng(seed).standard_normal((4000, 1))
    moments = Moments.of(x)
    low, high = scipy_stats.chi2(3999).ppf([0.975, 0.025])

    found = estimates.variance_interval(moments)

    assert found.low == pytest.approx(moments.variance * 3999 / low, rel=0.01)
    assert found.high == pytest.approx(moments.variance * 3999 / high, rel=0.01)


def test_the_variance_of_numbers_of_which_few_are_large_is_covered():
    """Of fair signs times log-normal numbers; the logarithm's interval alone lies too low."""
    rng = np.random.default_rng(0)
    samples = [
        Moments.of(rng.choice([-1, 1], (128, 1)) * rng.lognormal(0, 0.6, (128, 1)))
        for _ in range(600)
    ]
    truth = np.exp(2 * 0.6**2)

    def hits(interval):
        return sum(found.low <= truth <= found.high for found in map(interval, samples))

    assert hits(estimates.variance_interval) < 0.93 * 600 < hits(estimates.skewed_variance_interval)


def test_a_skewed_interval_has_halls_upper_end_where_a_few_tasks_are_large():
    """Against Hall's transformation solved by bisection for the mean of exponential numbers."""
    each = np.random.default_rng(0).exponential(size=200)
    estimate = estimates.Estimate.mean(each)

    found = estimate.skewed()

    error = each.std(ddof=1) / np.sqrt(200)
    skew = ((each - each.mean()) ** 3).mean() / each.std() ** 3 / np.sqrt(200)
    low, high = -50.0, 50.0
    for _ in range(100):
        t = (low + high) / 2
        straight = t + skew * t**2 / 3 + skew**2 * t**3 / 27 + skew / 6
        low, high = (t, high) if straight < -estimates.quantile(199) else (low, t)
    assert found.high == pytest.approx(each.mean() - error * t, rel=1e-6)
    assert found.low <= estimate.interval().low or found.low < found.value


def test_skewed_intervals_cover_where_the_logarithms_do_not():
    """Means of 128 squares of a product: the setting in which 92 % were covered before."""
    rng, hits, repetitions = np.random.default_rng(1), 0, 1000

    for _ in range(repetitions):
        each = (rng.standard_normal((128, 2)) * rng.standard_normal((128, 1))) ** 2
        interval = estimates.Estimate.mean(each.sum(1)).skewed()
        hits += interval.low <= 2.0 <= interval.high

    # at a true coverage of 95 %, 928 hits or fewer have a probability of 0.1 %
    assert hits > 928


def test_a_slope_that_one_batch_makes_is_not_finite_and_warns_of_nothing():
    """Leave that batch out, and no variance is left to take the logarithm of."""
    lone = Moments.of(np.array([[1.0], [0.0], [0.0]]))

    line = estimates.log_slope(np.array([1.0, 2.0]), [lone, Moments.of(sample(9))])

    assert not math.isfinite(line.slope)
