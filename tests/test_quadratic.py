"""Are the quadratic family's closed forms true?"""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch

from metabench.algorithms.fomaml import FOMAML
from metabench.algorithms.maml import MAML
from metabench.families.quadratic import Quadratic
from metabench.misuse import Misuse
from metabench.problem import Address
from metabench.steps.sgd import SGD
from metabench.subject import Subject


@pytest.mark.parametrize("cls", [MAML, FOMAML])
@pytest.mark.parametrize("steps", [0, 1, 4])
def test_moments_agree_with_a_large_sample(cls, steps):
    family = Quadratic(dim=5, shots=3, queries=4)
    algorithm, theta = cls(steps=steps, step=SGD(rate=0.3)), family.theta(1)
    subject = Subject(family.problem(), family.sample, algorithm, theta)
    n = 60_000

    grads = subject.meta_gradients(Address.fresh(0, n), seed=2).grad.numpy()

    truth = family.truth(theta, steps, rate=0.3, first_order=cls is FOMAML)
    z = (grads.mean(0) - truth.mean) / (grads.std(0) / np.sqrt(n))
    assert np.abs(z).max() < 4.5
    squares = ((grads - grads.mean(0)) ** 2).sum(1)
    assert abs(squares.mean() - truth.variance) < 4.5 * squares.std() / np.sqrt(n)


def test_moments_agree_with_every_sign_written_out():
    """One shot, one query, one dimension, no noise: the meta-gradient takes 4 values given c."""
    family = Quadratic(dim=1, shots=1, queries=1, noise=0.0, jitter=0.4, spread=0.7)
    theta, rate, steps = torch.tensor([0.9], dtype=torch.float64), 0.25, 3

    truth = family.truth(theta, steps, rate)

    first = second = 0.0
    for a, b in itertools.product((0.6, 1.4), repeat=2):
        slope = b * (1 - rate * a) ** (2 * steps)  # g = slope (theta - c), c ~ N(0, 0.7^2)
        first += slope * 0.9 / 4
        second += slope**2 * (0.9**2 + 0.7**2) / 4
    assert truth.mean[0] == pytest.approx(first, rel=1e-12)
    assert truth.variance == pytest.approx(second - first**2, rel=1e-12)


def test_one_task_is_the_textbook_formula():
    family = Quadratic(dim=6)
    theta, rate, steps = family.theta(0), 0.2, 3
    task = family.sample(Address.fresh(4, 1), seed=0)
    (a, z), (b, w) = ((x[0], y[0]) for x, y in (task.support, task.query))

    found = MAML(steps=steps, step=SGD(rate=rate))(
        family.problem(), theta, type(task)((a, z), (b, w))
    )

    shrink = 1 - rate * a.mean(0)
    phi = theta
    for _ in range(steps):
        phi = phi - rate * (a * (phi - z)).mean(0)
    expected = shrink**steps * (b * (phi - w)).mean(0)
    torch.testing.assert_close(found.grad, expected, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize(
    "settings", [{"dim": 0}, {"condition": 0.5}, {"jitter": 1.0}, {"noise": -1.0}, {"shots": 0}]
)
def test_settings_without_a_quadratic_are_refused(settings):
    with pytest.raises(Misuse):
        Quadratic(**settings)
