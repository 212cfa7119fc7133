"""Do the rules of learn2learn, betty and hypertorch give what plain autograd gives?"""

from __future__ import annotations

import functools

import oracles
import pytest
import torch
from black_boxes import NET, PROBLEM, RATE, STEPS, draw, plain_loop, subject
from torch.func import functional_call
from torch.nn.functional import mse_loss as mse

import metabench as mb
from metabench.problems.proximal import proximal
from metabench.problems.tasks import Address, cast, tree_map

STRENGTH = 2.0
WITH_PROXIMAL = proximal(PROBLEM, STRENGTH)
THETA = PROBLEM.theta.double()
TASKS = cast(draw(Address.fresh(0, 2), 0), THETA)
EACH = [tree_map(lambda leaf, i=i: leaf[i], TASKS) for i in range(2)]


def call(phi, data):
    return mse(functional_call(NET, phi, (data[0],)), data[1])


def inner(phi, theta, support):
    pulled = sum(((phi[name] - theta[name]) ** 2).sum() for name in phi)
    return call(phi, support) + STRENGTH / 2 * pulled


def outer(phi, theta, query):
    return call(phi, query)


def step(phi, theta, support, rate=RATE):
    """One gradient step, as a user of hypertorch writes it."""
    grads = torch.autograd.grad(inner(phi, theta, support), list(phi.values()), create_graph=True)
    return {name: phi[name] - rate * grad for name, grad in zip(phi, grads, strict=True)}


def estimates(box):
    found = [box(PROBLEM, THETA, task) for task in EACH]
    return [each.grad for each in found], [each.loss for each in found]


def dense(task, steps):
    """phi_K by a loop, and there the dense derivatives of both losses, by torch.autograd."""
    phi = THETA.clone()
    for _ in range(steps):
        at = phi.clone().requires_grad_()
        (grad,) = torch.autograd.grad(WITH_PROXIMAL.inner_loss(at, THETA, task.support), at)
        phi = phi - RATE * grad
    function = functools.partial(WITH_PROXIMAL.inner_loss, data=task.support)
    (pp, pt), _ = torch.autograd.functional.hessian(lambda p, t: function(p, t), (phi, THETA))
    at = phi.clone().requires_grad_()
    (in_phi,) = torch.autograd.grad(PROBLEM.outer_loss(at, THETA, task.query), at)
    return phi, pp, pt, in_phi


@pytest.mark.parametrize("first_order", [False, True])
def test_learn2learns_rule_is_autograd_through_the_unroll(first_order):
    def adapted_loss(learner, task):
        for _ in range(STEPS):
            learner.adapt(mse(learner(task.support[0]), task.support[1]))
        return mse(learner(task.query[0]), task.query[1])

    box = mb.adapters.from_learn2learn(adapted_loss, NET, RATE, first_order=first_order)
    found = subject(box).meta_gradients(Address.fresh(0, 3), 0)

    loop = mb.BlackBox(lambda theta, task: plain_loop(theta, task, not first_order))
    expected = subject(loop).meta_gradients(Address.fresh(0, 3), 0)
    assert oracles.relative(found.grad, expected.grad) < 1e-12
    torch.testing.assert_close(found.loss, expected.loss)


def test_bettys_rule_is_its_series_with_a_dense_hessian():
    box = mb.adapters.from_betty(inner, outer, STEPS, RATE, iterations=3, alpha=0.2)
    found, losses = estimates(box)

    for task, grad, loss in zip(EACH, found, losses, strict=True):
        phi, pp, pt, in_phi = dense(task, STEPS)
        factor = torch.eye(len(phi), dtype=phi.dtype) - 0.2 * pp
        series = sum(torch.linalg.matrix_power(factor, j) @ in_phi for j in range(4))
        assert oracles.relative(grad, -0.2 * pt.T @ series) < 1e-12
        torch.testing.assert_close(loss, PROBLEM.outer_loss(phi, THETA, task.query))


def test_hypertorchs_rule_is_its_iteration_with_a_dense_jacobian():
    box = mb.adapters.from_hypertorch(step, outer, STEPS, iterations=4)
    found, losses = estimates(box)

    for task, grad, loss in zip(EACH, found, losses, strict=True):
        phi, pp, pt, in_phi = dense(task, STEPS)
        factor = torch.eye(len(phi), dtype=phi.dtype) - RATE * pp
        v = sum(torch.linalg.matrix_power(factor, j) @ in_phi for j in range(4))
        assert oracles.relative(grad, -RATE * pt.T @ v) < 1e-12
        torch.testing.assert_close(loss, PROBLEM.outer_loss(phi, THETA, task.query))


def test_both_converge_to_the_implicit_gradient():
    betty = mb.adapters.from_betty(inner, outer, 300, RATE, iterations=300, alpha=RATE)
    hypertorch = mb.adapters.from_hypertorch(step, outer, 300, iterations=300)

    expected = []
    for task in EACH:
        phi, *_ = dense(task, 300)
        expected.append(oracles.implicit(WITH_PROXIMAL, phi, THETA, task))
    for box in (betty, hypertorch):
        for grad, implicit in zip(estimates(box)[0], expected, strict=True):
            assert oracles.relative(grad, implicit) < 1e-9


def test_a_module_of_other_parameters_and_a_loss_without_theta_are_named():
    def constant(learner, task):
        return torch.zeros(())

    other = torch.nn.Linear(3, 1)

    with pytest.raises(mb.InvalidInput, match=r"no parameter '0.weight'.*it has weight, bias"):
        estimates(mb.adapters.from_learn2learn(constant, other, RATE))
    with pytest.raises(mb.InvalidInput, match="does not depend on theta"):
        estimates(mb.adapters.from_learn2learn(constant, NET, RATE))
