"""Does the point robot move as declared, and is its log-density that of its actions?"""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.distributions import Normal
from torch.testing import assert_close

import metabench as mb
from metabench.problems.tasks import tree_map
from metabench.settings.errors import InvalidInput

EXACT = {"rtol": 0, "atol": 1e-12}


@pytest.fixture(scope="module")
def drawn():
    """A small family, its theta with other scales than 1, one support set and its sample."""
    family = mb.Navigation(shots=6, queries=2, horizon=7, hidden=(5, 4))
    theta = family.theta(0)
    theta[-2:] = torch.tensor([-2.0, -3.0])
    support = tree_map(lambda leaf: leaf[0], family.sample(mb.Address.fresh(0, 1), 0).support)
    return family, theta, support, family.problem().sampling.draw(theta, theta, support)


def test_steps_are_clipped_and_rewards_are_minus_squared_distances(drawn):
    family, theta, support, sample = drawn
    raw = family.rollout(theta, support)

    for i in range(6):
        position = np.zeros(2)
        for t in range(7):
            assert_close(raw.observations[i, t].numpy(), position, **EXACT)
            position = position + np.clip(raw.actions[i, t].numpy(), -0.1, 0.1)
            away = position - support.goal[i].numpy()
            assert float(raw.rewards[i, t]) == pytest.approx(-float(away @ away), abs=1e-12)
    weighted = raw.rewards * 0.99 ** torch.arange(7).double()
    assert_close(sample.rewards, weighted, **EXACT)


def test_log_probabilities_are_those_of_torchs_normal_around_a_plain_network(drawn):
    family, theta, _, sample = drawn
    values = family.layout.unflatten(theta)
    layers = [torch.nn.Linear(*sizes).double() for sizes in ((2, 5), (5, 4), (4, 2))]
    for i, layer in enumerate(layers):
        layer.load_state_dict({"weight": values[f"{i}.weight"], "bias": values[f"{i}.bias"]})
    net = torch.nn.Sequential(layers[0], torch.nn.ReLU(), layers[1], torch.nn.ReLU(), layers[2])

    found = family.problem().sampling.log_probabilities(theta, theta, sample)

    normal = Normal(net(sample.observations), values["log_scale"].exp())
    assert_close(found, normal.log_prob(sample.actions).sum(-1), **EXACT)


def test_a_meta_gradient_runs_under_vmap_and_equals_a_loop(drawn):
    family, theta, _, _ = drawn

    grads = []
    for how in ("vmap", "loop"):
        compute = mb.Vectorization(how, engine="eager")
        maml = mb.MAML(2, mb.SGD(0.1))
        subject = mb.Subject(family.problem(), family.sample, maml, theta, compute)
        grads.append(subject.meta_gradients(mb.Address.fresh(0, 3), 0).grad)

    assert_close(*grads, rtol=0, atol=1e-9)
    assert grads[0].isfinite().all()


def test_a_baseline_that_needs_expectations_is_refused():
    with pytest.raises(InvalidInput, match="baseline is 'exact', which needs exact expectations"):
        mb.Navigation(baseline="exact")
