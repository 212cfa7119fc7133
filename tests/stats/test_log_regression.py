"""Is the slope of a power law found, with its error?"""

from __future__ import annotations

import math

import numpy as np
import pytest
from samples import sample

from metabench.stats.log_regression import log_slope
from metabench.stats.moments import (
    Moments,
)


def test_the_slope_of_exact_power_laws_is_found_and_bracketed():
    """Variances 1/B^p with the same relative noise at each B: slope -p."""
    sizes = np.array([1.0, 2.0, 4.0, 8.0, 16.0])
    for power in (1.0, 0.5):
        samples = [
            Moments.from_samples(sample(2000, seed=int(B), mean=0.0) * B ** (-power / 2))
            for B in sizes
        ]

        line = log_slope(sizes, samples)

        assert line.slope == pytest.approx(-power, abs=4 * line.error)
        assert 0 < line.error < 0.05


def test_a_slope_that_one_batch_makes_is_not_finite_and_warns_of_nothing():
    """Leave that batch out, and no variance is left to take the logarithm of."""
    lone = Moments.from_samples(np.array([[1.0], [0.0], [0.0]]))

    line = log_slope(np.array([1.0, 2.0]), [lone, Moments.from_samples(sample(9))])

    assert not math.isfinite(line.slope)


def test_the_degrees_of_freedom_are_satterthwaites():
    """Two sizes whose errors are equal have the degrees of freedom of both together."""
    noise = sample(30)
    samples = [Moments.from_samples(noise), Moments.from_samples(5 * noise)]

    line = log_slope(np.array([1.0, 2.0]), samples)

    assert line.freedom == pytest.approx(2 * 29)
