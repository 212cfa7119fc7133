"""Which derivatives does each surrogate estimate? Held to sums over all trajectories."""

from __future__ import annotations

import enumerated_mdp
import pytest
import torch
from enumerated_mdp import GAMMA, A, H, S
from torch.func import jacrev
from torch.testing import assert_close

from metabench.problems.reinforcement.returns import returns
from metabench.problems.reinforcement.surrogates.dice import DiCE
from metabench.problems.reinforcement.surrogates.loaded_dice import LoadedDiCE
from metabench.problems.reinforcement.surrogates.lvc import LVC
from metabench.problems.reinforcement.surrogates.naive import Naive
from metabench.settings.errors import InvalidInput

EXACT = {"rtol": 0, "atol": 1e-12}
ALL = {
    "naive": Naive(),
    "lvc": LVC(),
    "dice": DiCE(),
    "loaded": LoadedDiCE(),
    "decayed": LoadedDiCE(decay=0.3),
}


@pytest.fixture(scope="module", params=[0, 1])
def world(request):
    """A process with all its trajectories, and a baseline of any number for time and state."""
    return enumerated_mdp.enumerated(request.param)


@pytest.mark.parametrize("name", ALL)
def test_the_gradient_is_unbiased_with_any_baseline_of_time_and_state(world, name):
    gradients, _ = world.derivatives(ALL[name])

    assert_close(world.mean(gradients), world.gradient(), **EXACT)


@pytest.mark.parametrize("name", ["dice", "loaded"])
def test_the_hessian_of_dice_is_unbiased_with_any_baseline_of_time_and_state(world, name):
    _, hessians = world.derivatives(ALL[name])

    assert_close(world.mean(hessians), world.hessian(), **EXACT)


def test_the_hessian_of_naive_is_the_curvature_of_log_probabilities_alone(world):
    _, hessians = world.derivatives(Naive())

    curvature = jacrev(jacrev(world.log_policy))(world.phi)  # (64, H, P, P)
    advantages = world.returns() - world.baselines
    assert_close(hessians, torch.einsum("nt,ntpq->npq", advantages, curvature), **EXACT)
    assert (world.mean(hessians) - world.hessian()).norm() > 0.1 * world.hessian().norm()


def test_the_hessian_of_lvc_lacks_how_actions_change_what_later_ones_are_worth(world):
    def worth(phi):  # Q at each time, state and action, discounted from the start
        policy, after, found = phi.view(S, A).softmax(-1), torch.zeros(S).double(), []
        for t in reversed(range(H)):
            found.append(GAMMA**t * world.mdp.rewards + world.mdp.transitions @ after)
            after = (policy * found[-1]).sum(-1)
        return torch.stack(found[::-1])[torch.arange(H), world.states, world.actions]

    _, hessians = world.derivatives(LVC())

    crossed = torch.einsum("ntp,ntq->npq", world.scores(), jacrev(worth)(world.phi))
    lacking = world.mean(crossed + crossed.mT)
    assert_close(world.hessian() - world.mean(hessians), lacking, **EXACT)
    assert lacking.norm() > 0.01 * world.hessian().norm()


def test_without_memory_loaded_dice_is_lvc_sample_by_sample(world):
    for one, other in zip(
        world.derivatives(LoadedDiCE(decay=0.0)), world.derivatives(LVC()), strict=True
    ):
        assert_close(one, other, **EXACT)


def test_with_whole_memory_loaded_dice_is_taypo_of_order_two_sample_by_sample(world):
    def taypo(log_probabilities, returns, baselines):
        ratio = (log_probabilities - log_probabilities.detach()).exp() - 1
        earlier = ratio.cumsum(-1) - ratio
        return (ratio * (1 + earlier) * (returns - baselines)).sum(-1)

    for one, other in zip(world.derivatives(LoadedDiCE()), world.derivatives(taypo), strict=True):
        assert_close(one, other, **EXACT)


def test_naive_has_no_hessian_where_the_baseline_is_the_exact_value(world):
    value, later = torch.zeros(S).double(), []
    policy = world.phi.view(S, A).softmax(-1)
    for t in reversed(range(H)):
        value = (policy * (GAMMA**t * world.mdp.rewards + world.mdp.transitions @ value)).sum(-1)
        later.append(value)
    exact = torch.stack(later[::-1])[torch.arange(H), world.states]

    _, hessians = world._replace(baselines=exact).derivatives(Naive())

    assert world.mean(hessians).norm() < 1e-12
    assert world.hessian().norm() > 0.1


def test_weights_of_a_decay_without_control_term_are_biased_at_first_order(world):
    """The published form that divides by episodes, against ours: the control term is the mend."""

    def without_control(log_probabilities, returns, baselines):
        earlier, total = torch.zeros_like(log_probabilities[..., 0]), 0.0
        for t, taken in enumerate(log_probabilities.unbind(-1)):
            earlier = taken + 0.25 * earlier
            total = total + (earlier - earlier.detach()).exp() * (returns - baselines)[..., t]
        return total

    gradients, _ = world.derivatives(without_control)

    assert (world.mean(gradients) - world.gradient()).norm() > 0.01 * world.gradient().norm()


def test_discounts_from_each_action_on_give_the_gradient_of_no_return(world):
    ahead = returns(world.rewards, GAMMA, "from_t")
    flat = world._replace(baselines=0 * world.baselines)

    gradients, _ = flat.derivatives(LVC(), ahead)

    assert_close(returns(world.rewards, GAMMA, "from_start"), world.returns(), **EXACT)
    assert_close(ahead * world.weights(), world.returns(), **EXACT)
    assert (world.mean(gradients) - world.gradient()).norm() > 0.01 * world.gradient().norm()


def test_a_decay_outside_zero_to_one_is_refused():
    with pytest.raises(InvalidInput, match=r"decay is 1\.5; it must lie in \[0, 1\]"):
        LoadedDiCE(decay=1.5)
