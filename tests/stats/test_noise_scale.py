"""Does the interval of the noise scale contain what is not rejected, and no more?"""

from __future__ import annotations

import math

import numpy as np
import pytest
from samples import sample

from metabench.stats.intervals import jackknife_covariance, t_quantile
from metabench.stats.moments import Moments, mean_norm_interval, null_variance
from metabench.stats.noise_scale import noise_scale_interval


def test_the_noise_scale_keeps_exactly_the_ratios_that_are_not_refuted():
    moments = Moments.from_samples(sample(60, mean=2.0))
    tops, bottoms = moments.leave_one_out()
    cov, t = jackknife_covariance(tops, bottoms), t_quantile(59)
    slope, floor = null_variance(moments)

    found = noise_scale_interval(moments)

    for ratio in (found.low, found.high):
        gap = moments.variance - ratio * moments.mean_norm_squared
        below = slope * moments.variance / ratio + floor
        error = math.sqrt(cov[0, 0] - 2 * ratio * cov[0, 1] + ratio**2 * below)
        assert abs(gap) == pytest.approx(t * error, rel=1e-9)
    assert found.low < found.value < found.high


def test_a_signal_indistinguishable_from_zero_has_an_unbounded_noise_scale():
    unbounded = [
        noise_scale_interval(m).high == math.inf
        for m in (Moments.from_samples(sample(40, seed=s, mean=0.0)) for s in range(200))
    ]
    unresolved = [
        mean_norm_interval(m).low <= 0
        for m in (Moments.from_samples(sample(40, seed=s, mean=0.0)) for s in range(200))
    ]

    assert unbounded == unresolved
    assert np.mean(unbounded) > 0.9
