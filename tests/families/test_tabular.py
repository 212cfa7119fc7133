"""Are the exact quantities of random tables right, and are their trajectories drawn as declared?"""

from __future__ import annotations

import enumerated_mdp
import numpy as np
import pytest
import torch
from scipy.stats import chisquare
from torch.func import grad, jacrev, vmap
from torch.testing import assert_close

import metabench as mb
from metabench.families.tabular import Rollouts
from metabench.problems.reinforcement.baselines import BASELINES, UNBIASED
from metabench.problems.reinforcement.mdp import MDP
from metabench.problems.reinforcement.policy_gradient import STREAMS
from metabench.problems.tasks import Task, tree_map
from metabench.settings.errors import InvalidInput

EXACT = {"rtol": 0, "atol": 1e-12}
N = 40_000


@pytest.fixture(scope="module")
def world():
    return enumerated_mdp.enumerated()


@pytest.fixture(scope="module")
def rollouts(world):
    """N trajectories' random numbers on the enumerated process."""
    bits = mb.Tabular(shots=N).sample(mb.Address.fresh(0, 1), seed=0).support.bits[0]
    return Rollouts(MDP(*(part.expand(N, *part.shape) for part in world.mdp)), bits)


def of_one(task):
    return tree_map(lambda leaf: leaf[0], task)


def number_of(states, actions):
    """Which of the 64 trajectories each one is."""
    both = torch.stack([states, actions], -1).flatten(-2)
    return (both * 2 ** torch.arange(5, -1, -1)).sum(-1)


def test_the_return_and_its_derivatives_are_the_sums_over_all_trajectories(world, rollouts):
    loss = mb.Tabular().problem().expected_inner_loss

    def expected_return(phi):
        return -loss(phi, phi, rollouts)

    assert_close(expected_return(world.phi), world.expected_return(world.phi), **EXACT)
    assert_close(grad(expected_return)(world.phi), world.gradient(), **EXACT)
    assert_close(jacrev(grad(expected_return))(world.phi), world.hessian(), **EXACT)


def test_maml_on_the_expected_losses_is_the_gradient_of_expected_adaptation(world, rollouts):
    problem, alpha = mb.Tabular().problem().expected(), 0.7
    maml = mb.MAML(steps=1, inner_optimizer=mb.SGD(alpha))

    found = maml(problem, world.phi, Task(rollouts, rollouts)).grad

    adapted = grad(
        lambda phi: world.expected_return(phi + alpha * grad(world.expected_return)(phi))
    )(world.phi)
    assert_close(found, -adapted, **EXACT)


@pytest.mark.parametrize("step", [0, 1, 2])
def test_trajectories_have_the_law_of_the_process_in_every_inner_step(world, rollouts, step):
    family = mb.Tabular()
    data = family.problem().sampling.at_step(rollouts, step)

    found = family.rollout(world.phi, data)

    counts = np.bincount(number_of(found.observations, found.actions), minlength=64)
    order = number_of(world.states, world.actions)
    expected = np.empty(64)
    expected[order] = N * world.probabilities
    assert chisquare(counts, expected).pvalue > 1e-3
    assert_close(found.rewards, world.mdp.rewards[found.observations, found.actions], **EXACT)


def test_the_trajectories_of_two_steps_are_independent(world, rollouts):
    family = mb.Tabular()
    first, second, beside = (
        family.rollout(world.phi, rollouts, stream).rewards.sum(-1)
        for stream in (0, STREAMS, STREAMS + 1)
    )

    table = torch.corrcoef(torch.stack([first, second, beside]))
    assert float((table - torch.eye(3)).abs().max()) < 4 / N**0.5


@pytest.mark.parametrize("baseline", BASELINES)
def test_gradients_of_many_trajectories_come_near_the_exact_one(world, baseline):
    family = mb.Tabular(shots=2, queries=1, baseline=baseline)
    bits = mb.Tabular(shots=N).sample(mb.Address.fresh(0, 1), seed=1).support.bits[0]
    process = MDP(*(part.expand(N // 2, 2, *part.shape) for part in world.mdp))
    data = Rollouts(process, bits.reshape(N // 2, 2, 3, 2))

    each = vmap(lambda one: grad(family.problem().inner_loss)(world.phi, world.phi, one))(data)

    error, exact = each.mean(0) + world.gradient(), world.gradient()
    spread = float(each.var(0).sum().sqrt()) / (N // 2) ** 0.5
    if baseline in UNBIASED:
        assert float(error.norm()) < 4 * spread
    else:
        assert float(error.norm()) > max(6 * spread, 0.1 * float(exact.norm()))


@pytest.mark.parametrize("hidden", [0, 3])
def test_vmap_is_a_loop_and_float32_draws_the_same_trajectories(hidden):
    family = mb.Tabular(shots=4, queries=4, hidden=hidden)
    theta, address = family.theta(0), mb.Address.fresh(0, 3)

    def subject(theta, how):
        how = mb.Vectorization(how, engine="eager")
        return mb.Subject(family.problem(), family.sample, mb.MAML(steps=2), theta, how)

    together, apart = (
        subject(theta, how).meta_gradients(address, 0).grad for how in ("vmap", "loop")
    )
    single = subject(theta.float(), "vmap").meta_gradients(address, 0).grad

    assert_close(together, apart, **EXACT)
    assert_close(single.double(), together, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"baseline": "value"}, "baseline is 'value'; it must be one of none, time, exact"),
        ({"discounting": "t"}, "discounting is 't'; it must be one of from_start, from_t"),
        ({"discount": 0.0}, r"discount is 0.0; it must lie in \(0, 1\]"),
        ({"states": 0}, "states is 0; it must be at least 1"),
    ],
)
def test_settings_that_mean_nothing_are_refused(settings, sentence):
    with pytest.raises(InvalidInput, match=sentence):
        mb.Tabular(**settings)
