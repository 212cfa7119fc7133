"""Do learned rates, Bayesian particles and joint training follow their papers?"""

from __future__ import annotations

from dataclasses import replace

import cases
import numpy as np
import oracles
import pytest
import torch

from metabench.algorithms.alpha_maml import AlphaMAML, outer_hypergradient
from metabench.algorithms.bmaml import BMAML, stein_direction
from metabench.algorithms.inner_optimizers.sgd import SGD
from metabench.algorithms.maml import MAML
from metabench.algorithms.pretrain import Pretrain
from metabench.estimation.vectorization import Vectorization
from metabench.families.quadratic import Quadratic
from metabench.families.ridge import Ridge
from metabench.problems.tasks import Address, tree_map
from metabench.settings.errors import InvalidInput


def small():
    problem = cases.problem()
    return problem, cases.theta(problem), cases.one(cases.tasks(1), 0)


@pytest.mark.parametrize("step", cases.STEPS.values(), ids=cases.STEPS.keys())
def test_alphas_entry_is_the_derivative_of_the_adapted_loss_in_the_inner_rate(step):
    problem, theta, task = small()
    algorithm = AlphaMAML(steps=3, inner_optimizer=step)
    longer, started = algorithm.extend(problem, theta)

    found = algorithm(longer, started, task).grad

    def loss(alpha):  # maml's particle loss at another rate, by a plain loop
        maml = MAML(steps=3, inner_optimizer=replace(step, rate=float(alpha)))
        return oracles.outer(maml, problem, theta, task)

    rate, along = torch.tensor(step.rate, dtype=torch.float64), torch.ones((), dtype=torch.float64)
    difference = oracles.directional(loss, rate, along, h=1e-3 * step.rate)
    assert float(found[-1]) == pytest.approx(difference, rel=1e-6)
    assert (
        oracles.relative(found[:-1], MAML(steps=3, inner_optimizer=step)(problem, theta, task).grad)
        < 1e-11
    )


def test_the_outer_hypergradient_is_the_derivative_of_the_next_loss_in_the_outer_rate():
    problem, theta, _ = small()
    maml, beta = (
        MAML(steps=2, inner_optimizer=SGD(rate=0.1)),
        torch.tensor(0.05, dtype=torch.float64),
    )
    first, then = (cases.one(cases.tasks(2), i) for i in range(2))
    before = maml(problem, theta, first).grad

    found = outer_hypergradient(maml(problem, theta - beta * before, then).grad, before)

    def loss(at):
        return oracles.outer(maml, problem, theta - at * before, then)

    difference = oracles.directional(loss, beta, torch.ones_like(beta), h=1e-3)
    assert float(found) == pytest.approx(difference, rel=1e-8)


def test_both_rates_come_down_from_where_training_diverges():
    """A bowl of curvature 1 and 1/10, both rates too large to begin with: both hypergradients."""
    family = Quadratic(dim=4, jitter=0.0, noise=0.1)
    problem, algorithm = family.problem(), AlphaMAML(steps=2, inner_optimizer=SGD(rate=2.1))
    problem, theta = algorithm.extend(problem, family.theta(0))
    tasks = family.sample(Address.fresh(0, 32), 0)
    grads = Vectorization().per_task(lambda at, task: algorithm(problem, at, task))
    beta, before = 1e-3, torch.zeros_like(theta)

    losses, alphas = [], []
    for _ in range(200):
        found = grads(theta, tasks)
        grad = found.grad.mean(0)
        beta -= 1e-4 * float(outer_hypergradient(grad[:-1], before[:-1]))
        losses.append(float(found.loss.mean()))
        alphas.append(float(theta[-1]))
        theta, before = theta - torch.cat([beta * grad[:-1], 0.02 * grad[-1:]]), grad

    assert beta > 1e-3  # the outer rate began too small
    assert alphas[-1] < 2.0 < alphas[0]  # the inner one too large
    assert losses[-1] < 0.5 * losses[0]


def test_pretraining_is_the_gradient_of_both_losses_before_adaptation():
    problem, theta, task = small()

    found = Pretrain(steps=3, inner_optimizer=SGD(rate=0.1))(problem, theta, task)

    leaf = theta.clone().requires_grad_()
    support = problem.inner_loss(leaf, leaf, task.support)
    query = problem.outer_loss(leaf, leaf, task.query)
    (expected,) = torch.autograd.grad((support + query) / 2, leaf)
    tuned = MAML(steps=3, inner_optimizer=SGD(rate=0.1))(problem, theta, task)
    assert oracles.relative(found.grad, expected) < 1e-14
    assert torch.equal(found.phi, tuned.phi)
    torch.testing.assert_close(found.loss, tuned.loss, rtol=1e-14, atol=0)


def test_pretraining_reaches_theta_in_the_losses_directly():
    family = Ridge()
    task = tree_map(lambda leaf: leaf[0], family.sample(Address.fresh(0, 1), 0))
    start = family.problem()._replace(init=lambda theta: theta.new_ones(7) * theta.sum())

    found = Pretrain()(start, family.theta(0), task).grad

    leaf = family.theta(0).requires_grad_()
    phi = start.init(leaf)
    joint = start.inner_loss(phi, leaf, task.support) + start.outer_loss(phi, leaf, task.query)
    assert oracles.relative(found, torch.autograd.grad(joint / 2, leaf)[0]) < 1e-13


def svgd_by_hand(particles, scores):
    """Liu & Wang's algorithm 1 in numpy, one particle and one coordinate at a time."""
    M = len(particles)
    squared = [[((a - b) ** 2).sum() for b in particles] for a in particles]
    pairs = sorted(squared[i][j] for i in range(M) for j in range(i + 1, M))
    h = pairs[(len(pairs) - 1) // 2] / np.log(M + 1) + 1e-12
    along = np.zeros_like(particles)
    for m in range(M):
        for j in range(M):
            k = np.exp(-squared[j][m] / h)
            repulsion = -2 / h * (particles[j] - particles[m]) * k  # of k in particle j
            along[m] += (k * scores[j] + repulsion) / M
    return along


@pytest.mark.parametrize("M", [2, 3, 6])
def test_the_stein_direction_is_that_of_a_plain_loop(M):
    particles, scores = np.random.default_rng(M).standard_normal((2, M, 3))

    found = stein_direction(torch.from_numpy(particles), torch.from_numpy(scores))

    np.testing.assert_allclose(found.numpy(), svgd_by_hand(particles, scores), rtol=1e-12)


def test_particles_find_a_gaussian():
    """Its mean exactly, by symmetry, and its spread to what 40 particles can show."""
    mean, deviation = 1.5, 0.7
    x = torch.from_numpy(np.random.default_rng(0).standard_normal((40, 1)))

    for _ in range(2000):
        x = x + 0.1 * stein_direction(x, (mean - x) / deviation**2)

    assert float(x.mean()) == pytest.approx(mean, abs=1e-3)
    assert float(x.std()) == pytest.approx(deviation, rel=0.1)
    assert float(stein_direction(x, (mean - x) / deviation**2).abs().max()) < 1e-3


def test_one_particle_is_plain_adaptation_chasing_its_own_further_steps():
    problem, theta, task = small()
    algorithm = BMAML(particles=1, steps=2, leader_steps=3, inner_optimizer=SGD(rate=0.1))
    longer, started = algorithm.extend(problem, theta)

    found = algorithm(longer, started, task)

    leaf = theta.clone().requires_grad_()
    phi = leaf
    for _ in range(2):
        loss = problem.inner_loss(phi, leaf, task.support)
        phi = phi - 0.1 * torch.autograd.grad(loss, phi, create_graph=True)[0]
    leader = phi
    both = tuple(torch.cat(pair) for pair in zip(task.support, task.query, strict=True))
    for _ in range(3):
        loss = problem.inner_loss(leader, leaf, both)
        leader = leader - 0.1 * torch.autograd.grad(loss, leader, create_graph=True)[0]
    chase = 0.5 * ((phi - leader.detach()) ** 2).sum()
    assert torch.equal(started, theta)
    assert oracles.relative(found.phi, phi.detach()) < 1e-14
    assert oracles.relative(found.grad, torch.autograd.grad(chase, leaf)[0]) < 1e-12


def test_the_chaser_loss_of_many_particles_is_autograds():
    problem, theta, task = small()
    algorithm = BMAML(
        particles=3,
        leader_steps=1,
        temperature=0.7,
        steps=2,
        inner_optimizer=SGD(rate=0.1),
        spread=0.3,
    )
    longer, started = algorithm.extend(problem, theta)

    found = algorithm(longer, started, task)

    leaf = started.clone().requires_grad_()
    phi, P = leaf.view(3, -1), len(theta)
    away = started[P:] - theta.repeat(2)
    assert float(away.std()) == pytest.approx(0.3, rel=0.3)

    def step(phi, data):
        scores = []
        for particle in phi:
            loss = problem.inner_loss(particle, leaf[:P], data)
            scores.append(-torch.autograd.grad(loss, particle, create_graph=True)[0] / 0.7)
        return phi + 0.1 * stein_direction(phi, torch.stack(scores))

    for _ in range(2):
        phi = step(phi, task.support)
    both = tuple(torch.cat(pair) for pair in zip(task.support, task.query, strict=True))
    leader = step(phi, both).detach()
    chase = 0.5 * ((phi - leader) ** 2).sum()
    (expected,) = torch.autograd.grad(chase, leaf)
    assert longer.layouts.phi.size == 3 * P
    assert longer.layouts.theta.names[-1] == "particle.3.2.bias"
    assert oracles.relative(found.grad, expected) < 1e-11
    mean = sum(problem.outer_loss(particle, theta, task.query) for particle in phi) / 3
    assert float(found.loss) == pytest.approx(float(mean.detach()), rel=1e-12)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"particles": 0}, "particles is 0"),
        ({"leader_steps": 0}, "leader_steps is 0"),
        ({"temperature": 0.0}, "temperature is 0"),
    ],
)
def test_invalid_particle_settings_are_rejected(settings, words):
    with pytest.raises(InvalidInput, match=words):
        BMAML(**settings)
