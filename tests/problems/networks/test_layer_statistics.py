"""Is the drift of features over inner steps what a linear layer's closed form says?"""

from __future__ import annotations

import cases
import numpy as np
import pytest
import torch
from torch import nn

import metabench as mb
from metabench.probes.explosion import Explosion
from metabench.problems.networks.layer_statistics import layer_statistics
from metabench.records.rows import from_table, to_table

START = 0.1
QUICK = {"tasks": 16, "steps": 6, "at": (1, 2, 6), "directions": 0, "mitigated": 0}


def lines(examples):
    """Tasks y = slope x with x away from zero, one weight, from 0.1."""
    net = nn.Linear(1, 1, bias=False).double()
    net.weight.data.fill_(START)
    problem = mb.Problem.from_module(net, nn.functional.mse_loss)

    def sample(indices, seed):
        made = []
        for i in indices:
            noise = torch.Generator().manual_seed(1000 * seed + int(i))
            x = 1 + torch.randn(examples, 1, generator=noise, dtype=torch.float64)
            made.append((x, x * torch.randn(1, generator=noise, dtype=torch.float64)))
        pair = tuple(torch.stack(leaves) for leaves in zip(*made, strict=True))
        return pair, pair

    return problem, sample


def drift(examples, rate):
    problem, sample = lines(examples)
    sampler = mb.Indexed(sample)
    subject = mb.Subject(problem, sampler, mb.MAML(6, mb.SGD(rate)), problem.theta)
    probe = Explosion(**QUICK, precision=False)
    table = to_table(probe.measure(subject, 0))
    return probe, table, sample(range(16), 0)[0]


def test_drift_is_the_closed_form_of_a_linear_layer():
    """w_k = w* + (1 - 2 alpha E x^2)^k (w_0 - w*): mean w E x, standard deviation |w| sd x."""
    _, table, (x, y) = drift(10, 0.05)
    x, y = x[..., 0].numpy(), y[..., 0].numpy()
    square = (x**2).mean(1)
    best = (x * y).mean(1) / square

    for K in (1, 2, 6):
        w = best + (1 - 0.1 * square) ** K * (START - best)
        shift = np.abs(w - START) * np.abs(x.mean(1)) / (START * x.std(1))
        for quantity, each in (("feature_shift", shift), ("feature_spread", np.abs(w) / START)):
            (row,) = (
                r for r in from_table(table, quantity, layer="the module itself") if r.at == K
            )
            assert row.value == pytest.approx(np.median(each), rel=1e-9)
            assert row.low <= np.median(each) <= row.high


def test_features_that_leave_their_own_spread_are_named():
    probe, table, _ = drift(10, 0.05)
    found = {f.name: f for f in probe.find(table)}
    assert "feature_drift" in found
    assert "initial standard deviations" in found["feature_drift"].claim

    probe, table, _ = drift(10, 1e-5)
    assert "feature_drift" not in {f.name for f in probe.find(table)}


def test_one_example_has_no_spread_to_measure_by():
    _, table, _ = drift(1, 0.05)

    rows = from_table(table, "feature_shift", layer=None)
    assert [(r.value, r.status) for r in rows] == [(None, "degenerate")]


@pytest.mark.parametrize(
    "norm", [nn.BatchNorm2d(4, track_running_stats=False), nn.GroupNorm(2, 4), nn.Identity()]
)
def test_statistics_are_those_of_every_channel(norm):
    """What hooks see under vmap is what the layers give when called one after another."""
    net = nn.Sequential(nn.Conv2d(1, 4, 3), norm, nn.ReLU(), nn.Flatten(), nn.Linear(64, 3))
    x = torch.randn(5, 7, 1, 6, 6)
    values = dict(net.named_parameters())

    seen = torch.func.vmap(lambda part: layer_statistics(net)(values, part))(x)

    after = net[0](x[2])
    outputs = {"0": after, "1": norm(after), "4": net(x[2])}
    assert set(seen) == set(outputs) - ({"1"} if isinstance(norm, nn.Identity) else set())
    for name, channels in seen.items():
        out = outputs[name].transpose(0, 1).flatten(1)
        torch.testing.assert_close(channels.mean[2], out.mean(1))
        torch.testing.assert_close(channels.variance[2], out.var(1, unbiased=False))


@pytest.mark.parametrize(
    "algorithm", [mb.ANIL(2), mb.IMAML(2), mb.MetaSGD(2), mb.MAMLPP(2, per_step_norms=False)]
)
def test_every_inner_loop_shows_its_features(algorithm):
    problem = cases.problem("batch norm")
    tasks = cases.tasks(8)
    subject = mb.Subject(problem, lambda address, seed: tasks, algorithm, cases.theta(problem))
    probe = Explosion(tasks=8, steps=2, directions=0, mitigated=0, precision=False)

    rows = [r for r in probe.measure(subject, 0) if r.quantity == "feature_shift"]

    assert {r.layer for r in rows} == {"0", "1", "3"}
    still = [r.value < 1e-12 for r in rows if r.layer in ("0", "1")]  # of the body
    assert all(still) if isinstance(algorithm, mb.ANIL) else not any(still)
