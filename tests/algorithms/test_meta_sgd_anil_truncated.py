"""Do learned rates, ANIL and truncation follow their papers?"""

from __future__ import annotations

import cases
import oracles
import pytest
import torch
from torch.nn import functional

from metabench.algorithms.anil import ANIL
from metabench.algorithms.fomaml import FOMAML
from metabench.algorithms.inner_optimizers.sgd import SGD
from metabench.algorithms.maml import MAML
from metabench.algorithms.meta_sgd import MetaSGD
from metabench.estimation.estimator_on_tasks import Subject
from metabench.families.quadratic import Quadratic
from metabench.families.sinusoid import Sinusoid
from metabench.problems.problem import Problem
from metabench.problems.tasks import Address, tree_map
from metabench.settings.errors import InvalidInput


def small(kind: str = "plain"):
    problem = cases.problem(kind)
    return problem, cases.theta(problem), cases.one(cases.tasks(1), 0)


def by_hand(problem, theta, task, rates, steps, cut=0):
    """Autograd through phi <- phi - rates * gradient; the first `cut` steps lead to a leaf."""
    leaves = theta.clone().requires_grad_(), rates.clone().requires_grad_()
    phi = leaves[0]
    for k in range(steps):
        if k == cut and cut > 0:
            phi = leaves[0] + (phi - leaves[0]).detach()
        loss = problem.inner_loss(phi, leaves[0], task.support)
        (gradient,) = torch.autograd.grad(loss, phi, create_graph=True)
        phi = phi - leaves[1] * gradient
    if cut == steps > 0:
        phi = leaves[0] + (phi - leaves[0]).detach()
    outer = problem.outer_loss(phi, leaves[0], task.query)
    return phi.detach(), torch.autograd.grad(outer, leaves, allow_unused=True)


def signed(problem, seed=5):
    """A rate for every parameter, some of them negative."""
    generator = torch.Generator().manual_seed(seed)
    return 0.1 * torch.randn(problem.layouts.phi.size, generator=generator, dtype=torch.float64)


@pytest.mark.parametrize("kind", ["plain", "batch norm", "layer norm"])
def test_meta_sgd_is_autograd_through_a_loop_with_a_rate_for_each_parameter(kind):
    problem, theta, task = small(kind)
    rates, algorithm = signed(problem), MetaSGD(steps=3)
    longer, started = algorithm.extend(problem, theta)

    found = algorithm(longer, torch.cat([theta, rates]), task)

    phi, expected = by_hand(problem, theta, task, rates, steps=3)
    names = problem.layouts.phi.names
    assert longer.layouts.theta.names == (*names, *(f"rate.{name}" for name in names))
    assert started[len(theta) :].tolist() == [algorithm.inner_optimizer.rate] * len(rates)
    assert oracles.relative(found.phi, phi) < 1e-13
    assert oracles.relative(found.grad, torch.cat(expected)) < 1e-12


def test_meta_sgd_agrees_with_finite_differences_in_the_rates():
    problem, theta, task = small()
    rates, along = signed(problem), signed(problem, seed=6)
    algorithm = MetaSGD(steps=3)
    longer, _ = algorithm.extend(problem, theta)

    found = algorithm(longer, torch.cat([theta, rates]), task).grad[len(theta) :]

    def loss(at):
        phi, _ = by_hand(problem, theta, task, at, steps=3)
        return float(problem.outer_loss(phi, theta, task.query))

    difference = oracles.directional(loss, rates, along, h=1e-3)
    assert float(found @ along) == pytest.approx(difference, rel=1e-8)


@pytest.mark.parametrize("step", cases.STEPS.values(), ids=cases.STEPS.keys())
def test_meta_sgd_at_its_first_rates_is_maml_with_any_inner_step(step):
    problem, theta, task = small()
    algorithm = MetaSGD(steps=3, inner_optimizer=step)
    longer, started = algorithm.extend(problem, theta)

    found = algorithm(longer, started, task)

    expected = MAML(steps=3, inner_optimizer=step)(problem, theta, task)
    assert oracles.relative(found.grad[: len(theta)], expected.grad) < 1e-11
    assert oracles.relative(found.phi, expected.phi) < 1e-13


@pytest.mark.parametrize("kind", ["plain", "batch norm", "layer norm"])
def test_anil_is_maml_with_the_bodys_rate_at_zero(kind):
    problem, theta, task = small(kind)
    head = problem.layouts.phi.names[-2:]  # weight and bias of the last layer
    rates = torch.zeros_like(theta)
    for name, part in problem.layouts.phi.segments():
        rates[part] = 0.1 if name in head else 0.0

    found = ANIL(steps=3, inner_optimizer=SGD(rate=0.1))(problem, theta, task)

    phi, (expected, _) = by_hand(problem, theta, task, rates, steps=3)
    assert oracles.relative(found.phi, phi) < 1e-13
    assert oracles.relative(found.grad, expected) < 1e-12
    maml = MAML(steps=3, inner_optimizer=SGD(rate=0.1))(problem, theta, task).grad
    assert oracles.relative(found.grad, maml) > 1e-3


def test_any_part_can_be_the_head():
    problem, theta, task = small()

    everything = ANIL(steps=2, head=("*",))(problem, theta, task).grad
    body = ANIL(steps=2, head=("0.*",)).on_head(problem)

    assert oracles.relative(everything, MAML(steps=2)(problem, theta, task).grad) < 1e-13
    assert body.layouts.phi.names == ("0.weight", "0.bias")
    with pytest.raises(InvalidInput, match=r"no parameter 'head\.\*' for algo.head. Known: 0.bias"):
        ANIL(head=("head.*",))(problem, theta, task)


def test_a_problem_of_one_vector_is_all_head():
    family = Quadratic(dim=3)
    task = tree_map(lambda leaf: leaf[0], family.sample(Address.fresh(0, 1), 0))
    theta = family.theta(0)

    found = ANIL(steps=2)(family.problem(), theta, task).grad

    assert oracles.relative(found, MAML(steps=2)(family.problem(), theta, task).grad) < 1e-14


@pytest.mark.parametrize("step", cases.STEPS.values(), ids=cases.STEPS.keys())
def test_truncation_ends_at_fomaml_and_at_maml(step):
    problem, theta, task = small()

    none, more = (
        MAML(steps=3, inner_optimizer=step, truncate=m)(problem, theta, task) for m in (0, 5)
    )

    assert torch.equal(none.grad, FOMAML(steps=3, inner_optimizer=step)(problem, theta, task).grad)
    assert torch.equal(more.grad, MAML(steps=3, inner_optimizer=step)(problem, theta, task).grad)


@pytest.mark.parametrize("kept", [1, 2])
def test_truncated_maml_is_autograd_from_a_later_start(kept):
    problem, theta, task = small()

    found = MAML(steps=3, inner_optimizer=SGD(rate=0.1), truncate=kept)(problem, theta, task)

    rates = torch.full_like(theta, 0.1)
    _, (expected, _) = by_hand(problem, theta, task, rates, steps=3, cut=3 - kept)
    assert oracles.relative(found.grad, expected) < 1e-12
    assert found.notes["norms"].shape == (kept + 1,)


def test_truncation_errs_less_by_the_contraction_of_each_further_step():
    """On a bowl of curvature h: (1 - alpha h)^m v_K, so the error shrinks as v_{K-m} converges."""
    family = Quadratic(dim=4, condition=1.0, jitter=0.0)
    task = tree_map(lambda leaf: leaf[0], family.sample(Address.fresh(0, 1), 0))
    theta, rate, K = family.theta(0), 0.3, 6

    grads = [
        MAML(steps=K, inner_optimizer=SGD(rate=rate), truncate=m)(
            family.problem(), theta, task
        ).grad
        for m in range(K + 1)
    ]

    for m, grad in enumerate(grads):
        assert oracles.relative(grad, (1 - rate) ** m * grads[0]) < 1e-12
    assert MAML(steps=6, truncate=6).exact
    assert not MAML(steps=6, truncate=5).exact
    with pytest.raises(InvalidInput, match="truncate is -2"):
        MAML(truncate=-2)


def test_a_subject_extends_theta_once_and_keeps_what_was_trained():
    family, algorithm = Sinusoid(hidden=(5,)), MetaSGD(steps=2)
    problem, theta = family.problem(), family.theta(0)
    subject = Subject(problem, family.sample, algorithm, theta)
    trained = subject.theta + 0.01

    moved = subject.at(trained)
    second = Subject(problem, family.sample, algorithm, trained)
    other = moved.with_algorithm(MAML(steps=2))
    shots = moved.with_shots(2)

    assert len(subject.theta) == 2 * len(theta)
    assert torch.equal(second.theta, trained)
    assert torch.equal(shots.theta, trained)
    assert shots.problem.layouts == subject.problem.layouts
    assert torch.equal(other.theta, trained[: len(theta)])
    assert other.problem.layouts == problem.layouts
    assert len(other.with_algorithm(algorithm).theta) == len(trained)
    with pytest.raises(InvalidInput, match=r"theta has shape \(3,\)"):
        Subject(problem, family.sample, algorithm, torch.zeros(3))


def test_norms_are_known_by_name():
    net = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.GroupNorm(2, 4), torch.nn.Tanh())

    assert Problem.from_module(net, functional.mse_loss).norms == ("1.weight", "1.bias")
    assert cases.problem("batch norm").norms == ("1.weight", "1.bias")
    assert cases.problem("plain").norms == ()
