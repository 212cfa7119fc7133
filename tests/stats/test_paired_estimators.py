"""Two estimators on shared tasks: are angle, error and break-even unbiased and covered?"""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats as scipy_stats

from metabench.stats import equal_time, paired_estimators
from metabench.stats.intervals import Estimate, Interval
from metabench.stats.moments import Moments
from metabench.stats.noise_scale import ratio_interval


def paired(seed: int, n: int = 64, dim: int = 6) -> tuple[Moments, Moments, Moments]:
    """a ~ N(e1 + e2, 1), b = 2 e1 + a shared noise of twice the size: cosine 1 / sqrt 2."""
    rng = np.random.default_rng(seed)
    noise = rng.standard_normal((n, dim))
    a = np.eye(dim)[0] + np.eye(dim)[1] + noise
    b = 2 * np.eye(dim)[0] + 2 * noise + 0.3 * rng.standard_normal((n, dim))
    return Moments.from_samples(a), Moments.from_samples(b), Moments.from_samples(a - b)


def covers(intervals, truth):
    hits = sum(each.low <= truth <= each.high for each in intervals)
    return scipy_stats.binomtest(hits, len(intervals), 0.95).pvalue > 1e-3 or hits > 0.95 * len(
        intervals
    )


def test_cosines_cover_the_truth():
    assert covers(
        [paired_estimators.cosine(*paired(seed)) for seed in range(300)], 1 / math.sqrt(2)
    )


def test_equal_estimators_have_a_cosine_of_one_and_nothing_above():
    """At exactly 1 the transformation of the interval is infinite; no warning and no NaN then."""
    same = Moments.from_samples(np.random.default_rng(0).standard_normal((40, 3)) + 3)
    none = Moments.from_samples(np.zeros((40, 3)))

    found = paired_estimators.cosine(same, same, none)

    assert tuple(found) == pytest.approx((1, 1, 1), abs=1e-9)


def test_shared_noise_alone_has_no_cosine():
    """Where both means are zero, plug-in cosines read the noise's; here none is claimed."""
    rng = np.random.default_rng(0)
    claimed = 0
    for _ in range(200):
        noise = rng.standard_normal((16, 5))
        found = paired_estimators.cosine(
            Moments.from_samples(noise),
            Moments.from_samples(noise),
            Moments.from_samples(0 * noise),
        )
        claimed += not math.isnan(found.low)

    assert claimed <= 10


def test_squared_errors_cover_bias_and_variance_together():
    """b as an estimate of E a: bias (1, -1), variance 6 * 4.09 a task."""
    truth = 2 + 6 * 4.09 / 8
    found = [
        paired_estimators.squared_error(b, apart, B=8)
        for _, b, apart in (paired(s, 200) for s in range(300))
    ]

    assert covers(found, truth)


def test_break_even_is_where_both_errors_meet():
    a, b, apart = paired(0, 4000)

    found = paired_estimators.break_even(b, a, apart)

    B = found.value
    ours = paired_estimators.squared_error(b, None, B).value
    assert ours == pytest.approx(paired_estimators.squared_error(a, apart, B).value)
    assert found.low < (6 * 4.09 - 6) / 2 < found.high


def test_the_better_estimator_is_better_at_any_budget():
    a, b, apart = paired(0, 4000)

    assert paired_estimators.break_even(a, b, apart) == (0.0, 0.0, 0.0)


def test_an_exact_ratio_has_no_width_and_none_is_negative():
    same = Moments.from_samples(np.ones((9, 4)))  # |E g|^2 = 4 without noise

    for top, expected in ((8.0, 2.0), (-8.0, 0.0)):
        found = ratio_interval(Estimate(top, np.full(9, top)), same)
        assert tuple(found) == pytest.approx((expected,) * 3, abs=1e-6)


def test_log_ratios_cover_the_ratio_of_variances():
    found = [
        paired_estimators.variance_ratio(b, a) for a, b, _ in (paired(seed) for seed in range(300))
    ]

    assert covers(found, 4.09)


def test_skewed_ratios_cover_what_clipping_leaves_of_a_variance():
    """Of Laplace numbers clipped at 2 there is 1 - 3 exp(-2) left: 2 - 2 (c + 1) exp(-c) of 2."""
    rng, found = (
        np.random.default_rng(0),
        {paired_estimators.variance_ratio: [], paired_estimators.skewed_variance_ratio: []},
    )
    for _ in range(600):
        x = rng.laplace(size=(64, 1))
        top, bottom = Moments.from_samples(np.clip(x, -2, 2)), Moments.from_samples(x)
        for ratio, intervals in found.items():
            intervals.append(ratio(top, bottom))

    truth = 1 - 3 * math.exp(-2)
    assert covers(found[paired_estimators.skewed_variance_ratio], truth)
    plain = zip(
        found[paired_estimators.variance_ratio],
        found[paired_estimators.skewed_variance_ratio],
        strict=True,
    )
    assert all(wide.low <= own.low < own.high <= wide.high for own, wide in plain)


def test_a_ratio_with_a_variance_of_zero_is_not_a_number():
    above, below, _ = paired(seed=0)
    none = above._replace(deviations=0 * above.deviations)

    assert all(map(math.isnan, paired_estimators.variance_ratio(none, below)))
    assert all(map(math.isnan, paired_estimators.variance_ratio(below, none)))


def test_the_ends_of_a_break_even_in_time_are_those_of_both_timings():
    a, b, apart = paired(0, 4000)
    exact, other = Interval(2.0, 1.5, 3.0), Interval(1.0, 0.5, 1.25)

    found = equal_time.break_even(b, a, apart, (exact, other))

    ends = [paired_estimators.break_even(b, a, apart, cost) for cost in ((1.5, 1.25), (3.0, 0.5))]
    assert (found.low, found.high) == (ends[0].low, ends[1].high)
    assert found.value == paired_estimators.break_even(b, a, apart, (2.0, 1.0)).value


def test_without_an_interval_of_the_time_there_is_none_of_the_error():
    a, _, apart = paired(0, 400)
    seconds = Interval(1.0, -math.inf, math.inf)

    found = equal_time.squared_error(a, apart, equal_time.tasks_in(8.0, seconds))

    assert found.value == paired_estimators.squared_error(a, apart, 8.0).value
    assert math.isnan(found.low)
    assert math.isnan(found.high)
