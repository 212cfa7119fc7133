"""Are the quadratic family's closed forms true?"""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch

from metabench.algorithms.fomaml import FOMAML
from metabench.algorithms.inner_optimizers.sgd import SGD
from metabench.algorithms.maml import MAML
from metabench.estimation.estimator_on_tasks import Subject
from metabench.families.quadratic import Quadratic
from metabench.problems.tasks import Address
from metabench.settings.errors import InvalidInput


@pytest.mark.parametrize("cls", [MAML, FOMAML])
@pytest.mark.parametrize("steps", [0, 1, 4])
def test_moments_agree_with_a_large_sample(cls, steps):
    family = Quadratic(dim=5, shots=3, queries=4)
    algorithm, theta = cls(steps=steps, inner_optimizer=SGD(rate=0.3)), family.theta(1)
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

    found = MAML(steps=steps, inner_optimizer=SGD(rate=rate))(
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
    with pytest.raises(InvalidInput):
        Quadratic(**settings)


@pytest.mark.parametrize(
    ("cls", "steps", "batch"), [(MAML, 3, 0), (FOMAML, 3, 0), (MAML, 1, 2), (FOMAML, 1, 2)]
)
def test_components_agree_with_what_two_draws_share(cls, steps, batch):
    """E<g, g'> over pairs that share exactly some sources, drawn so, with no design behind it."""
    family = Quadratic(dim=4, shots=4, queries=3, jitter=0.8)
    algorithm, theta, n = (
        cls(steps=steps, inner_optimizer=SGD(rate=0.6), batch=batch),
        family.theta(1),
        40_000,
    )
    subject = Subject(family.problem(), family.sample, algorithm, theta)
    first = Address.fresh(0, n)
    g = subject.meta_gradients(first, seed=2).grad.numpy()

    def product(**other):
        address = first._replace(**{axis: getattr(first, axis) + 1 for axis in other})
        return (g * subject.meta_gradients(address, seed=2).grad.numpy()).sum(1)

    truth = family.truth(theta, steps, 0.6, cls is FOMAML, batch)

    parts, base = truth.components, truth.mean_norm_squared
    nothing = base + parts["task"]
    for found, expected in (
        (product(support=1, query=1, inner=1), nothing),
        (product(query=1, inner=1), nothing + parts["support"]),
        (product(support=1, inner=1), nothing + parts["query"]),
        (product(inner=1), base + truth.variance - parts["inner"]),
        (product(), base + truth.variance),
    ):
        assert abs(found.mean() - expected) < 4.5 * found.std() / np.sqrt(n)


def test_many_shots_approach_the_limit_as_one_over_shots():
    theta = Quadratic(dim=6).theta(0)
    limit = Quadratic(dim=6).many_shot(theta, 2, 0.4)

    gaps = [
        np.linalg.norm(Quadratic(dim=6, shots=shots).truth(theta, 2, 0.4).mean - limit)
        for shots in (100, 200, 400)
    ]

    assert gaps[0] / gaps[1] == pytest.approx(2, rel=0.02)
    assert gaps[1] / gaps[2] == pytest.approx(2, rel=0.01)


def test_mini_batches_over_several_steps_have_no_closed_form():
    with pytest.raises(InvalidInput, match="1 step"):
        Quadratic().truth(Quadratic().theta(0), steps=2, rate=0.1, batch=2)


def test_a_center_has_the_tail_it_was_asked_for():
    """P(|c| > t) falls as t^-tail: between the top 1 % and the top 0.01 %, by 100^(1/tail)."""
    family = Quadratic(dim=1, tail=1.5, noise=0.0, jitter=0.0)
    centers = family.sample(Address.fresh(0, 400_000), seed=3).query[1][:, 0, 0].abs().numpy()

    ratio = np.quantile(centers, 0.9999) / np.quantile(centers, 0.99)

    assert ratio == pytest.approx(100 ** (1 / 1.5), rel=0.2)
    assert family.truth(family.theta(0), 1, 0.1).variance == np.inf
    finite = Quadratic(tail=4.0).bowl.spread_squared
    assert finite == pytest.approx(2.0)
