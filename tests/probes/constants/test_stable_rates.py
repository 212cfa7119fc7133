"""Are the rates said to be stable for a share of tasks the quantiles of 2 / largest eigenvalue?"""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from metabench.probes.constants.bounds import many_steps


def rows(largest, rate=0.1, steps=4):
    found = SimpleNamespace(sizes={"start": np.abs(largest)}, largest=largest)
    setting = SimpleNamespace(steps=steps, rate=rate, loop=object())
    return {(row.quantity, row.of): row for row in many_steps(found, setting)}


def test_the_stable_rates_are_quantiles_of_the_edges():
    largest = np.linspace(1, 4, 401)
    found = rows(largest)

    for share in (0.5, 0.95):
        row = found["rate", f"stable for {100 * share:.0f} % of tasks"]
        assert np.mean(row.value * largest <= 2) == pytest.approx(share, abs=0.01)
        assert row.low <= row.value <= row.high


def test_the_theory_s_rates_are_of_the_largest_norm():
    found = rows(np.array([1.0, 2.0, 5.0]))

    assert found["rate", "one step, 1 / (6 L)"].value == pytest.approx(1 / 30)
    assert found["rate", "many steps, 1 / (K L)"].value == pytest.approx(1 / 20)
    assert found["path_factor", ""].value == pytest.approx(1.5**8)
