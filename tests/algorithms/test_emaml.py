"""Is E-MAML unbiased for adaptation to few trajectories? Summed over all sets of one and two."""

from __future__ import annotations

import enumerated_mdp
import pytest
import torch
from torch.func import grad
from torch.testing import assert_close

import metabench as mb
from metabench.problems.reinforcement.episodes import Episodes
from metabench.problems.reinforcement.returns import rewards_of
from metabench.settings.errors import InvalidInput

ALPHA = 0.5


@pytest.fixture(scope="module")
def world():
    return enumerated_mdp.enumerated()


def expected(world, count, algorithm, surrogate):
    """The mean meta-gradient over all sets of `count` trajectories, with the exact query loss."""
    family = mb.Tabular(surrogate=surrogate)
    sampling = family.problem().sampling._replace(
        draw=lambda phi, theta, data: data, at_step=lambda data, k: data
    )
    problem = family.problem()._replace(
        sampling=sampling,
        inner_loss=sampling.inner_loss,
        outer_loss=lambda phi, theta, data: -world.expected_return(phi),
        expected_outer_loss=lambda phi, theta, data: -world.expected_return(phi),
    )
    numbers = torch.cartesian_prod(*[torch.arange(64)] * count).view(-1, count)
    ahead = world.returns()[numbers]
    actions, states = world.actions[numbers], world.states[numbers]
    sets = Episodes(states, actions, rewards_of(ahead), ahead, world.baselines[numbers])
    per_task = mb.Vectorization("vmap", engine="eager").per_task
    each = per_task(lambda theta, task: algorithm(problem, theta, task).grad)
    weights = world.probabilities[numbers].prod(-1)
    return weights @ each(world.phi, mb.Task(sets, ahead))


def true_gradient(world, count):
    """Of the expected return after one step on `count` trajectories drawn at theta."""
    numbers = torch.cartesian_prod(*[torch.arange(64)] * count).view(-1, count)
    advantages = world.returns() - world.baselines

    def value(theta):
        def ascended(one):  # the policy gradient as a function of theta, its trajectories fixed
            logits = theta.view(2, 2)
            scores = (
                torch.nn.functional.one_hot(world.actions, 2) - logits.softmax(-1)[world.states]
            )
            at = torch.nn.functional.one_hot(world.states, 2).double()
            steps = torch.einsum("nt,nts,nta->nsa", advantages, at, scores).flatten(1)
            return theta + ALPHA * steps[one].mean(1)

        after = torch.func.vmap(world.expected_return)(ascended(numbers))
        chances = world.log_probability(theta).exp()[numbers].prod(-1)
        return chances @ after

    return grad(value)(world.phi)


@pytest.mark.parametrize("count", [1, 2])
@pytest.mark.parametrize("baseline", ["none", "expected", "leave_one_out"])
def test_it_is_unbiased_for_adaptation_to_this_many_trajectories(world, count, baseline):
    algorithm = mb.EMAML(1, mb.SGD(ALPHA), score_baseline=baseline)

    found = expected(world, count, algorithm, mb.Naive())

    assert_close(found, -true_gradient(world, count), rtol=0, atol=1e-12)


def test_without_the_score_the_same_loss_is_biased(world):
    found = expected(world, 1, mb.MAML(1, mb.SGD(ALPHA)), mb.Naive())

    assert (found + true_gradient(world, 1)).norm() > 0.05 * found.norm()


@pytest.mark.parametrize("surrogate", [mb.LVC(), mb.DiCE(), mb.LoadedDiCE()])
def test_a_hessian_that_accounts_for_sampling_is_refused(surrogate):
    family = mb.Tabular(surrogate=surrogate)
    problem, theta = family.problem(), family.theta(0)
    task = mb.Task(*(part for part in family.sample(mb.Address.fresh(0, 1), 0)[:2]))
    one = torch.utils._pytree.tree_map(lambda leaf: leaf[0], task)

    with pytest.raises(InvalidInput, match="would count the sampling twice"):
        mb.EMAML().check(problem, theta, one)
    mb.EMAML().check(mb.Tabular(surrogate=mb.Naive()).problem(), theta, one)


@pytest.mark.parametrize("baseline", ["none", "expected", "redrawn", "leave_one_out"])
def test_baselines_agree_in_the_mean_over_two_steps_and_lower_the_variance(baseline):
    family = mb.Tabular(surrogate=mb.Naive(), shots=3, queries=3)

    def drawn(name):
        algorithm = mb.EMAML(2, mb.SGD(0.3), score_baseline=name)
        how = mb.Vectorization("vmap", engine="eager")
        subject = mb.Subject(family.problem(), family.sample, algorithm, family.theta(0), how)
        return subject.meta_gradients(mb.Address.fresh(0, 3000), 0).grad

    first, other = drawn("none"), drawn(baseline)

    apart = first - other
    error = (apart.var(0).sum() / len(apart)).sqrt()
    assert apart.mean(0).norm() <= 4 * error
    assert baseline == "none" or other.var(0).sum() < 0.7 * first.var(0).sum()


def test_on_losses_that_do_not_sample_it_is_maml():
    family = mb.Quadratic(dim=4)
    one, other = (
        mb.Subject(family.problem(), family.sample, algorithm, family.theta(0))
        for algorithm in (mb.EMAML(3), mb.MAML(3))
    )
    address = mb.Address.fresh(0, 3)

    grads = [each.meta_gradients(address, 0).grad for each in (one, other)]
    assert_close(*grads, rtol=0, atol=1e-14)
