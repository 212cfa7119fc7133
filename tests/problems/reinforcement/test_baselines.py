"""What does each baseline do to the expected gradient? Summed over all pairs of trajectories."""

from __future__ import annotations

import enumerated_mdp
import pytest
import torch
from enumerated_mdp import H
from torch.testing import assert_close

from metabench.problems.reinforcement.baselines import with_baseline


@pytest.fixture(scope="module")
def world():
    return enumerated_mdp.enumerated()


def expected_gradient(world, baseline: str):
    """The mean over all 4,096 pairs of trajectories of their policy gradient."""
    returns, scores, p = world.returns(), world.scores(), world.probabilities
    both = torch.stack(torch.broadcast_tensors(returns[:, None], returns[None]))  # (2, 64, 64, H)
    flat = both.reshape(2, -1, H)
    used = [with_baseline(baseline, flat[:, i], lambda name: None) for i in range(flat.shape[1])]
    advantages = torch.stack([ahead - level for ahead, level in used], 1).reshape(both.shape)
    first = torch.einsum("i,j,ijt,itp->p", p, p, advantages[0], scores)
    second = torch.einsum("i,j,ijt,jtp->p", p, p, advantages[1], scores)
    return (first + second) / 2


def test_leaving_the_trajectory_out_keeps_the_gradient_unbiased(world):
    assert_close(expected_gradient(world, "leave_one_out"), world.gradient(), rtol=0, atol=1e-12)


def test_the_batch_of_two_halves_the_gradient(world):
    assert_close(expected_gradient(world, "batch"), world.gradient() / 2, rtol=0, atol=1e-12)


def test_standardized_advantages_change_the_direction(world):
    found, exact = expected_gradient(world, "standardized"), world.gradient()

    assert float(found @ exact / found.norm() / exact.norm()) < 0.999


def test_a_trajectory_alone_has_no_others_to_compare_with(world):
    _, level = with_baseline("leave_one_out", world.returns()[:1], lambda name: None)

    assert not level.any()
