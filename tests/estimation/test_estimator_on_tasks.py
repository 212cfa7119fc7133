"""Does a subject draw the same tasks for every algorithm, in theta's dtype?"""

from __future__ import annotations

import pytest
import torch

from metabench.algorithms.fomaml import FOMAML
from metabench.algorithms.maml import MAML
from metabench.estimation.estimator_on_tasks import Subject
from metabench.estimation.vectorization import Vectorization
from metabench.families.digits import Digits
from metabench.families.quadratic import Quadratic
from metabench.problems.tasks import Address
from metabench.settings.errors import InvalidInput

FAMILY = Quadratic(dim=4, shots=6, queries=3)


def subject(algorithm=None, theta=None, compute=None, family=FAMILY) -> Subject:
    theta = family.theta(0) if theta is None else theta
    return Subject(
        family.problem(), family.sample, algorithm or MAML(), theta, compute or Vectorization()
    )


def test_algorithms_get_the_same_tasks_and_mini_batches():
    maml = subject(MAML(steps=3, batch=2))

    first = maml.draw(Address.fresh(7, 5), seed=1)
    other = maml.with_algorithm(FOMAML(steps=3, batch=2)).draw(Address.fresh(7, 5), seed=1)

    for one, two in zip(
        (*first.support, *first.query), (*other.support, *other.query), strict=True
    ):
        assert torch.equal(one, two)
    assert torch.equal(first.noise, other.noise)


def test_mini_batches_are_distinct_rows_that_only_the_inner_axis_moves():
    maml, address = subject(MAML(steps=4, batch=3)), Address.fresh(0, 50)

    noise = maml.draw(address, seed=0).noise
    moved = maml.draw(address._replace(inner=address.inner + 1), seed=0)

    assert noise.shape == (50, 4, 3)
    assert noise.min() == 0
    assert noise.max() == 5
    assert (noise.sort(-1).values.diff(dim=-1) > 0).all()
    assert not torch.equal(noise, moved.noise)
    assert torch.equal(moved.support[0], maml.draw(address, seed=0).support[0])


def test_tasks_follow_thetas_dtype_and_labels_stay_whole_numbers():
    family = Digits(ways=2, queries=1)
    half = subject(theta=family.theta(0).float(), family=family)

    x, y = half.draw(Address.fresh(0, 2), seed=0).support

    assert (x.dtype, y.dtype) == (torch.float32, torch.int64)


def test_estimates_are_means_over_consecutive_batches_whatever_the_chunk():
    address = Address.fresh(3, 24)
    alone = subject().meta_gradients(address, seed=5).grad

    for chunk in (1, 5, 8, 100):
        found = torch.cat(
            list(subject(compute=Vectorization(chunk=chunk)).estimates(address, 5, size=8))
        )

        expected = alone.view(3, 8, -1).mean(1)
        torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-15)


def test_a_theta_or_mini_batch_of_the_wrong_size_is_rejected():
    with pytest.raises(InvalidInput, match="one flat vector of 4 numbers"):
        subject(theta=torch.zeros(2, 2))
    with pytest.raises(InvalidInput, match="6 support examples"):
        subject(MAML(batch=7)).draw(Address.fresh(0, 1), seed=0)


def test_a_theta_with_requires_grad_is_detached():
    theta = FAMILY.theta(0)

    found = subject(theta=theta.clone().requires_grad_()).meta_gradients(Address.fresh(0, 3), 0)

    assert not found.grad.requires_grad
    assert torch.equal(found.grad, subject(theta=theta).meta_gradients(Address.fresh(0, 3), 0).grad)
