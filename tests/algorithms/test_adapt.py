"""Is the adjoint the exact derivative of the inner loop?"""

from __future__ import annotations

import cases
import oracles
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from metabench.algorithms.fomaml import FOMAML
from metabench.algorithms.inner_optimizers.sgd import SGD
from metabench.algorithms.maml import MAML
from metabench.estimation.vectorization import Vectorization
from metabench.problems.parameter_layout import Layout, Layouts
from metabench.problems.problem import Problem
from metabench.problems.tasks import Task, cast


@pytest.mark.parametrize("step", cases.STEPS.values(), ids=cases.STEPS.keys())
@pytest.mark.parametrize("kind", ["plain", "batch norm", "layer norm"])
def test_maml_is_autograd_through_the_unroll(kind, step):
    problem, task = cases.problem(kind), cases.one(cases.tasks(1), 0)
    theta, maml = cases.theta(problem), MAML(steps=4, inner_optimizer=step)

    found = maml(problem, theta, task).grad

    # round-off of a few thousand float64 operations
    assert oracles.relative(found, oracles.unrolled(maml, problem, theta, task)) < 1e-12


@pytest.mark.parametrize("step", cases.STEPS.values(), ids=cases.STEPS.keys())
def test_maml_agrees_with_finite_differences_of_the_adapted_loss(step):
    problem, task = cases.problem(), cases.one(cases.tasks(1), 0)
    theta, maml = cases.theta(problem), MAML(steps=3, inner_optimizer=step)
    along = cases.theta(problem, seed=1)

    found = float(maml(problem, theta, task).grad @ along)

    difference = oracles.directional(
        lambda at: oracles.outer(maml, problem, at, task), theta, along, h=1e-4
    )
    assert found == pytest.approx(difference, rel=1e-7)


@pytest.mark.parametrize("step", cases.STEPS.values(), ids=cases.STEPS.keys())
@pytest.mark.parametrize("kind", ["plain", "batch norm", "layer norm"])
def test_fomaml_is_maml_with_the_hessians_detached(kind, step):
    problem, task = cases.problem(kind), cases.one(cases.tasks(1), 0)
    theta, fomaml = cases.theta(problem), FOMAML(steps=4, inner_optimizer=step)

    found = fomaml(problem, theta, task).grad

    expected = oracles.unrolled(fomaml, problem, theta, task, detach=True)
    assert oracles.relative(found, expected) < 1e-14


@pytest.mark.parametrize("step", cases.STEPS.values(), ids=cases.STEPS.keys())
def test_fomaml_agrees_with_finite_differences_of_the_query_loss_in_phi(step):
    """The derivative in phi_K alone, which FOMAML claims to be."""
    problem, task = cases.problem(), cases.one(cases.tasks(1), 0)
    theta, along = cases.theta(problem), cases.theta(problem, seed=1)

    found = FOMAML(steps=3, inner_optimizer=step)(problem, theta, task)

    difference = oracles.directional(
        lambda phi: float(problem.outer_loss(phi, theta, task.query)), found.phi, along, h=1e-4
    )
    assert float(found.grad @ along) == pytest.approx(difference, rel=1e-8)


def test_mini_batches_of_the_inner_loop_reach_the_adjoint():
    problem, task = cases.problem(), cases.one(cases.tasks(1), 0)
    task = task._replace(noise=torch.tensor([[0, 3], [6, 1], [2, 2]]))
    theta, maml = cases.theta(problem), MAML(steps=3, inner_optimizer=SGD(rate=0.1))

    found = maml(problem, theta, task).grad

    assert oracles.relative(found, oracles.unrolled(maml, problem, theta, task)) < 1e-12
    whole = maml(problem, theta, task._replace(noise=())).grad
    assert oracles.relative(found, whole) > 1e-3


@pytest.mark.parametrize("cls", [MAML, FOMAML])
def test_theta_reaches_the_meta_gradient_through_init_and_both_losses(cls):
    """theta holds phi_0 before a tanh, and the log weights of a penalty in either loss."""
    phi, full = Layout(("phi",), ((4,),)), Layout(("theta",), ((6,),))
    problem = Problem(
        init=lambda theta: torch.tanh(theta[:4]),
        inner_loss=lambda p, t, d: ((d[0] @ p) ** 3).mean() + t[4].exp() * (p * p).sum(),
        outer_loss=lambda p, t, d: (d[0] @ p).sin().mean() + t[5].exp() * (p**4).sum(),
        layouts=Layouts(phi, full),
    )
    generator = torch.Generator().manual_seed(3)
    theta = torch.randn(6, generator=generator, dtype=torch.float64)
    data = torch.randn(2, 5, 4, generator=generator, dtype=torch.float64)
    task = Task((data[0],), (data[1],))
    algorithm = cls(steps=3, inner_optimizer=SGD(rate=0.05))

    found = algorithm(problem, theta, task).grad

    expected = oracles.unrolled(algorithm, problem, theta, task, detach=cls is FOMAML)
    assert oracles.relative(found, expected) < 1e-12


def test_the_norms_note_holds_the_cotangents_norms_at_every_step():
    problem, task = cases.problem(), cases.one(cases.tasks(1), 0)
    theta, steps = cases.theta(problem), 3

    found = MAML(steps=steps, inner_optimizer=SGD(rate=0.1))(problem, theta, task)

    assert found.notes["norms"].shape == (steps + 1,)
    assert float(found.notes["norms"][0]) == pytest.approx(float(found.grad.norm()), rel=1e-12)
    first_order = FOMAML(steps=steps, inner_optimizer=SGD(rate=0.1))(problem, theta, task)
    assert float(found.notes["norms"][-1]) == pytest.approx(float(first_order.grad.norm()))


def test_without_inner_steps_the_meta_gradient_is_the_query_gradient():
    problem, task = cases.problem(), cases.one(cases.tasks(1), 0)
    theta = cases.theta(problem)

    found = MAML(steps=0)(problem, theta, task)

    expected = torch.func.grad(problem.outer_loss)(theta, theta, task.query)
    torch.testing.assert_close(found.grad, expected, rtol=1e-14, atol=0)
    torch.testing.assert_close(found.phi, theta, rtol=0, atol=0)


class Products(TorchDispatchMode):
    """Count matrix products: a gradient of the two-layer net takes five, two forward."""

    def __init__(self):
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.count += func.overloadpacket in (torch.ops.aten.mm, torch.ops.aten.addmm)
        return func(*args, **(kwargs or {}))


def test_fomaml_builds_no_second_derivative():
    problem, task = cases.problem(), cases.one(cases.tasks(1), 0)
    theta, steps = cases.theta(problem), 4

    def products(function):
        with Products() as counted:
            function()
        return counted.count

    gradient = products(lambda: torch.func.grad(problem.inner_loss)(theta, theta, task.support))
    fomaml = products(lambda: FOMAML(steps=steps)(problem, theta, task))
    maml = products(lambda: MAML(steps=steps)(problem, theta, task))

    assert gradient > 0
    assert fomaml == (steps + 1) * gradient
    assert maml > fomaml + steps * gradient


@pytest.mark.parametrize("kind", ["plain", "batch norm", "layer norm"])
def test_float32_agrees_to_four_digits(kind):
    problem, many = cases.problem(kind), cases.tasks(6)
    theta, maml = cases.theta(problem), MAML(steps=5, inner_optimizer=SGD(rate=0.1))
    per_task = Vectorization().per_task(lambda at, task: maml(problem, at, task).grad)

    found = per_task(theta.float(), cast(many, theta.float()))

    assert oracles.relative(found.double(), per_task(theta, many)) < 1e-4
