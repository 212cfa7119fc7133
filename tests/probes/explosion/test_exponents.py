"""Do the intervals of Lyapunov exponents hold the truth, converged or not?"""

from __future__ import annotations

import numpy as np
import pytest

import metabench as mb
from metabench.probes.explosion import Explosion
from metabench.probes.explosion.exponents import exponent_bounds
from metabench.records.rows import from_table, to_table


@pytest.mark.parametrize("rate", [0.4, 0.8])
def test_unsettled_exponents_have_intervals_that_hold_the_closed_form(rate):
    """Neighboring curvatures: equal tasks have no spread, yet the third exponent is off."""
    family = mb.Quadratic(dim=8, condition=1.3, jitter=0.0)
    subject = mb.Subject(family.problem(), family.sample, mb.MAML(1, mb.SGD(rate)), family.theta(0))
    probe = Explosion(tasks=24, steps=20, mitigated=0, precision=False)
    rows = from_table(to_table(probe.measure(subject, 0)), "exponent", of=None)
    truth = np.sort(np.log(np.abs(1 - rate * family.curvatures)))[::-1][:3]

    assert max(abs(row.value - true) for row, true in zip(rows, truth, strict=True)) > 1e-3
    for row, true in zip(rows, truth, strict=True):
        assert row.low <= true <= row.high
        assert row.high > row.low


def block_iteration(logs, start, steps, count):
    """Exponents after each pass of a block iteration with a diagonal matrix, in plain NumPy."""
    block, passes = np.linalg.qr(start)[0], []
    for _ in range(count):
        total = np.zeros(start.shape[1])
        for _ in range(steps):
            block, R = np.linalg.qr(np.exp(logs)[:, None] * block)
            total += np.log(np.abs(np.diag(R)))
        passes.append(total / steps)
    return np.array(passes)[None]


def test_bounds_hold_for_spectra_of_any_gap():
    """Spreads from 0.001 to 1 a step, 5 to 50 steps: at most 1 % may miss by an unlucky start."""
    draw = np.random.default_rng(0)
    missed = off = 0
    for _ in range(150):
        P, steps = int(draw.integers(4, 30)), int(draw.choice([5, 20, 50]))
        logs = draw.uniform(-1, 1) + 10 ** draw.uniform(-3, 0) * draw.standard_normal(P)
        truth = np.sort(logs)[::-1][:3]
        passes = block_iteration(logs, draw.standard_normal((P, 3)), steps, 4)
        low, high = exponent_bounds(passes, steps, P, 1e-16)
        missed += int(((truth < low[0]) | (truth > high[0])).sum())
        off += int((np.abs(passes[0, -1] - truth) > 1e-3).sum())

    assert off > 100
    assert missed <= 9  # of 450, two percent: 0.5 % each, and three share a start


def test_bounds_tighten_with_more_passes():
    logs = np.linspace(0, -1, 10)
    start = np.random.default_rng(0).standard_normal((10, 3))
    widths = [
        np.subtract(*exponent_bounds(block_iteration(logs, start, 20, count), 20, 10, 1e-16)[::-1])
        for count in (2, 4, 16)
    ]

    assert (widths[0] > widths[1]).all()
    assert (widths[1] > widths[2]).all()


def test_the_whole_space_has_exact_volumes():
    """The product of all singular values is a determinant, which no rotation changes."""
    logs = np.array([0.3, -0.2, -0.9])
    start = np.random.default_rng(0).standard_normal((3, 3))
    low, high = exponent_bounds(block_iteration(logs, start, 10, 40), 10, 3, 1e-16)

    assert high[0, 2] - low[0, 2] < 0.05
    assert low[0, 2] <= -0.9 <= high[0, 2]
