"""Are the parts of the bias of sampled inner steps right, with intervals that hold them?"""

from __future__ import annotations

import enumerated_mdp
import numpy as np
import pytest
import torch
from torch.func import grad, vmap

import metabench as mb
from metabench.families.tabular import Rollouts
from metabench.probes.agreement.measure_sampling_bias import passes, sampling_bias_rows
from metabench.problems.reinforcement.mdp import MDP
from metabench.records.rows import to_table
from metabench.stats.moments import Moments, mean_norm_interval

ALPHA, REPETITIONS, DRAWS = 0.7, 100, 150
SURROGATES = {"naive": mb.Naive(), "lvc": mb.LVC(), "loaded_dice": mb.LoadedDiCE()}
PAIRS = {"reuse": (0, 1), "hessian": (1, 2), "compositional": (2, 3), "total": (0, 3)}


@pytest.fixture(scope="module")
def world():
    world = enumerated_mdp.enumerated()
    return world._replace(baselines=0 * world.baselines)


@pytest.fixture(scope="module", params=SURROGATES)
def drawn(request, world):
    """The passes of many single trajectories, and their exact means by enumeration."""
    family = mb.Tabular(surrogate=SURROGATES[request.param], shots=1, queries=1, baseline="none")
    count = REPETITIONS * DRAWS
    bits = family.sample(mb.Address.fresh(0, count), seed=0).support.bits
    rollouts = Rollouts(MDP(*(part.expand(count, 1, *part.shape) for part in world.mdp)), bits)
    loop = mb.MAML(1, mb.SGD(ALPHA)).loop(family.problem())
    per_task = mb.Vectorization("vmap", engine="eager", chunk=count).per_task
    found = per_task(lambda theta, task: passes(loop, 1, theta, task))(
        world.phi, mb.Task(rollouts, rollouts)
    )
    gradients, hessians = world.derivatives(SURROGATES[request.param])
    ahead = vmap(grad(world.expected_return))(world.phi + ALPHA * gradients)
    own = ahead + ALPHA * torch.einsum("npq,nq->np", hessians, ahead)
    mean = world.mean(ahead)
    exact = grad(world.expected_return)(world.phi + ALPHA * world.gradient())
    expected = (
        world.mean(own),
        mean + ALPHA * world.mean(hessians) @ mean,
        mean + ALPHA * world.hessian() @ mean,
        exact + ALPHA * world.hessian() @ exact,
    )
    return found, [-each for each in expected]


@pytest.mark.parametrize("part", PAIRS)
def test_the_interval_of_each_part_holds_its_exact_value(drawn, part):
    found, expected = drawn
    one, other = PAIRS[part]
    sample = (found[one] - found[other]).numpy().reshape(REPETITIONS, DRAWS, -1)
    truth = float((expected[one] - expected[other]).square().sum())

    intervals = [mean_norm_interval(Moments.from_samples(each)) for each in sample]

    held = sum(each.low <= truth + 1e-15 and truth <= each.high + 1e-15 for each in intervals)
    assert held >= 88  # the 0.1 % quantile of a binomial of 100 and .95
    pooled = sample.reshape(-1, 4)
    error = np.linalg.norm(pooled.mean(0) - (expected[one] - expected[other]).numpy())
    assert error <= 4 * np.sqrt(pooled.var(0).sum() / len(pooled)) + 1e-12


def findings(shots=2, **settings):
    family = mb.Tabular(shots=shots, queries=2, **settings)
    subject = mb.Subject(family.problem(), family.sample, mb.MAML(2, mb.SGD(0.5)), family.theta(0))
    rows = sampling_bias_rows(subject, seed=0, draws=1500)
    return {f.name: f for f in mb.Agreement().find(to_table(rows))}


def test_the_largest_part_decides_what_to_change():
    naive, dice = findings(surrogate=mb.Naive()), findings()

    assert "surrogate=loaded_dice" in naive["sampling_bias"].repair
    assert "surrogate=loaded_dice" not in dice["sampling_bias"].repair
    assert "inner_hessian" not in dice


def test_a_hessian_that_vanishes_in_the_mean_is_called_so_and_a_live_one_is_not():
    dead = findings(20, baseline="exact", surrogate=mb.Naive(), horizon=2)
    alive = findings(20, baseline="exact", surrogate=mb.Naive(), horizon=2, hidden=4)

    assert "vanishes in the mean" in dead["inner_hessian"].claim
    assert "The sampled inner Hessian" not in getattr(alive.get("inner_hessian"), "claim", "")


def test_without_expectations_the_bias_is_withheld_in_words():
    family = mb.Tabular()
    problem = family.problem()._replace(expected_inner_loss=None)
    subject = mb.Subject(problem, family.sample, mb.MAML(), family.theta(0))

    rows = mb.Agreement().measure(subject, seed=0)

    (said,) = mb.Agreement().find(to_table(rows))
    assert "expected losses" in said.claim
    assert said.state == "not_looked_at"
