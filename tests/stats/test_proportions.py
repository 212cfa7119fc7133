"""Are the limits of a share the exact ones?"""

from __future__ import annotations

import pytest
from scipy import stats as scipy_stats

from metabench.stats.proportions import share_interval


@pytest.mark.parametrize(("hits", "count"), [(0, 10), (3, 10), (10, 10), (500, 4096)])
def test_share_intervals_are_the_exact_binomial_ones(hits, count):
    expected = scipy_stats.binomtest(hits, count).proportion_ci(0.95, "exact")

    found = share_interval(hits, count)

    assert found.low == pytest.approx(expected.low, abs=1e-12)
    assert found.high == pytest.approx(expected.high, abs=1e-12)
