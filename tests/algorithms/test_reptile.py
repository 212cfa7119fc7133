"""Is Reptile the mean inner gradient, with the coefficients of its paper?"""

from __future__ import annotations

import cases
import oracles
import pytest
import torch

from metabench.algorithms.inner_optimizers.momentum import Momentum
from metabench.algorithms.inner_optimizers.sgd import SGD
from metabench.algorithms.reptile import Reptile
from metabench.families.ridge import Ridge
from metabench.problems.tasks import Address, tree_map
from metabench.settings.errors import InvalidInput


def test_it_is_the_mean_gradient_of_a_hand_written_loop():
    problem, task = cases.problem(), cases.one(cases.tasks(1), 0)
    task = task._replace(noise=torch.tensor([[0, 3], [6, 1], [2, 2]]))
    phi = cases.theta(problem).requires_grad_()
    theta = phi.detach()

    found = Reptile(steps=3, inner_optimizer=SGD(rate=0.1))(problem, theta, task)

    gradients = []
    for k in range(3):
        batch = tuple(leaf[task.noise[k]] for leaf in task.support)
        (gradient,) = torch.autograd.grad(problem.inner_loss(phi, theta, batch), phi)
        gradients.append(gradient)
        phi = phi - 0.1 * gradient
    assert oracles.relative(found.grad, sum(gradients) / 3) < 1e-12
    assert oracles.relative(found.phi, phi.detach()) < 1e-14


def test_the_displacement_is_backpropagated_through_init():
    problem, theta, task = cases.mixed()

    found = Reptile(steps=1, inner_optimizer=SGD(rate=0.1))(problem, theta, task).grad

    leaf = theta.clone().requires_grad_()
    phi = torch.tanh(leaf[:4])
    (gradient,) = torch.autograd.grad(problem.inner_loss(phi, theta, task.support), phi)
    expected = torch.autograd.grad(torch.tanh(leaf[:4]), leaf, gradient)[0]
    assert oracles.relative(found, expected) < 1e-12


def test_it_agrees_with_finite_differences_of_the_support_loss_at_the_inner_iterates():
    """The mean over k of the gradients of f at phi_k by differences, phi_k by a plain loop."""
    problem, task = cases.problem(), cases.one(cases.tasks(1), 0)
    theta, along = cases.theta(problem), cases.theta(problem, seed=1)

    found = Reptile(steps=3, inner_optimizer=SGD(rate=0.1))(problem, theta, task).grad

    def loss(at):
        return float(problem.inner_loss(at, theta, task.support))

    phi, derivatives = theta, []
    for _ in range(3):
        derivatives.append(oracles.directional(loss, phi, along, h=1e-4))
        entries = torch.eye(len(phi), dtype=torch.float64)
        gradient = [oracles.directional(loss, phi, entry, h=1e-4) for entry in entries]
        phi = phi - 0.1 * torch.tensor(gradient)
    assert float(found @ along) == pytest.approx(sum(derivatives) / 3, rel=1e-7)


def test_one_step_is_the_support_gradient():
    problem, task = cases.problem(), cases.one(cases.tasks(1), 0)
    theta = cases.theta(problem)

    found = Reptile(steps=1, inner_optimizer=SGD(rate=1e-3))(problem, theta, task).grad

    expected = torch.func.grad(problem.inner_loss)(theta, theta, task.support)
    assert oracles.relative(found, expected) < 1e-11  # (phi_0 - phi_1) / alpha cancels digits


def test_small_rates_show_the_papers_coefficients():
    """Section 5: g_1 + g_2 = 2 AvgGrad - alpha AvgGradInner, here over two mini-batches."""
    problem, task = cases.problem(), cases.one(cases.tasks(1), 0)
    halves = torch.tensor([[0, 1, 2], [3, 4, 5]])
    theta, rate = cases.theta(problem), 1e-4

    found = Reptile(steps=2, inner_optimizer=SGD(rate=rate))(
        problem, theta, task._replace(noise=halves)
    ).grad

    def loss(phi, rows):
        return problem.inner_loss(phi, theta, tuple(leaf[rows] for leaf in task.support))

    g1, g2 = (torch.func.grad(loss)(theta, rows) for rows in halves)
    H2 = torch.autograd.functional.hessian(lambda p: loss(p, halves[1]), theta)
    expected = (g1 + g2) / 2 - rate / 2 * H2 @ g1
    # what is left is of order alpha^2; the term in alpha itself is a thousand times that
    assert oracles.relative(found, expected) < 1e-7
    assert oracles.relative(found, (g1 + g2) / 2) > 1e-5


def test_momentum_in_the_inner_loop_gives_its_displacement():
    problem, task = cases.problem(), cases.one(cases.tasks(1), 0)
    theta = cases.theta(problem)

    found = Reptile(steps=2, inner_optimizer=Momentum(rate=0.1))(problem, theta, task)

    assert oracles.relative(found.grad, (theta - found.phi) / 0.2) < 1e-13


@pytest.mark.parametrize("settings", [{"steps": 0}, {"inner_optimizer": SGD(rate=0.0)}])
def test_an_inner_loop_without_displacement_is_rejected(settings):
    with pytest.raises(InvalidInput, match="reptile"):
        Reptile(**settings)


def test_a_theta_that_is_no_initialization_is_rejected():
    ridge = Ridge()
    task = tree_map(lambda leaf: leaf[0], ridge.sample(Address.fresh(0, 1), 0))

    with pytest.raises(InvalidInput, match=r"init\(theta\) doesn't depend on theta"):
        Reptile().check(ridge.problem(), ridge.theta(0), task)
