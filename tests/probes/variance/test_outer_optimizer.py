"""Are the clipped gradient and the optimizer's update those of torch?"""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from metabench.algorithms.inner_optimizers.sgd import SGD
from metabench.algorithms.maml import MAML
from metabench.autodiff.clipping import clipped
from metabench.estimation.estimator_on_tasks import Subject
from metabench.estimation.vectorization import Vectorization
from metabench.families.quadratic import Quadratic
from metabench.outer_loop import optimizer_settings
from metabench.outer_loop.optimizer_updates import updates
from metabench.probes.variance import OPTIMIZERS, Variance
from metabench.probes.variance.collect import InMemory
from metabench.probes.variance.measure_outer_optimizer import Clipped
from metabench.problems.tasks import Address
from metabench.records.rows import from_table, to_table
from metabench.settings.errors import InvalidInput

FAMILY = Quadratic(dim=8, shots=3, queries=3)


def subject(family=FAMILY):
    algorithm = MAML(steps=1, inner_optimizer=SGD(rate=0.1))
    theta = family.theta(0).double()
    return Subject(family.problem(), family.sample, algorithm, theta, Vectorization(chunk=4096))


def measured(family=FAMILY, tasks=2048, seed=1, batch=25, **settings):
    probe = Variance(tasks, sizes=(1, 4, 16), redrawn_tasks=0, batch=batch, **settings)
    table = to_table(probe.measure(subject(family), seed))
    return table, probe.find(table)


def by_size(table, quantity):
    return {row.at: row for row in from_table(table, quantity)}


def gradients(n=40, q=6):
    return np.random.default_rng(0).standard_normal((n, q)) + 0.3


@pytest.mark.parametrize(("norm", "value"), [(2.0, math.inf), (math.inf, 0.5), (1.0, 0.5)])
def test_a_clipped_sample_is_each_vector_clipped_read_in_any_columns(norm, value):
    many = gradients()
    many[3] *= 1e-3  # which nothing clips

    found = Clipped(InMemory(many), 6, norm, value)

    expected = clipped(torch.from_numpy(many), norm, value).numpy()
    for start, stop in ((0, 6), (2, 5)):
        np.testing.assert_allclose(found.columns(start, stop), expected[:, start:stop], rtol=1e-12)
    assert found.moved.tolist() == (np.abs(expected - many) > 1e-12).any(1).tolist()


def test_the_optimizers_are_those_of_training():
    assert set(OPTIMIZERS) == set(optimizer_settings.OPTIMIZERS)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_an_update_is_torchs_from_the_state_that_the_first_gradients_leave(name):
    """Against a run of torch's own optimizer a gradient, at a rate of 0.1 and away from zero."""
    made = {
        "sgd": lambda p: torch.optim.SGD(p, 0.1),
        "momentum": lambda p: torch.optim.SGD(p, 0.1, momentum=0.9),
        "adam": lambda p: torch.optim.Adam(p, 0.1),
        "adamw": lambda p: torch.optim.AdamW(p, 0.1, weight_decay=0.0),
        "rmsprop": lambda p: torch.optim.RMSprop(p, 0.1),
    }[name]
    many, warm = gradients(), 10

    found = updates(name, many, warm)

    assert found.shape == (30, 6)
    for i in (0, 17, 29):
        at = torch.nn.Parameter(torch.full((6,), 3.0, dtype=torch.float64))
        optimizer = made([at])
        for line in [*many[:warm], many[warm + i]]:
            before = at.detach().clone()
            at.grad = torch.from_numpy(line.copy())
            optimizer.step()
        np.testing.assert_allclose(found[i], ((before - at.detach()) / 0.1).numpy(), rtol=1e-9)


def test_columns_of_an_update_can_be_computed_apart():
    many = gradients()

    parts = [updates("adam", many[:, part], 10) for part in (slice(0, 2), slice(2, 6))]

    np.testing.assert_allclose(np.hstack(parts), updates("adam", many, 10), rtol=1e-12)


@pytest.mark.parametrize("optimizer", ["sgd", "momentum"])
def test_an_update_that_is_linear_in_the_batch_varies_as_the_closed_form_says(optimizer):
    truth = FAMILY.truth(FAMILY.theta(0), 1, 0.1)

    table, _ = measured(tasks=8192, outer_optimizer=optimizer)

    for at, row in by_size(table, "update_variance").items():
        assert row.value == pytest.approx(truth.variance / at, rel=0.5)
        assert row.low < row.value < row.high
    (slope,) = from_table(table, "update_slope")
    assert slope.low < -1 < slope.high


def test_clipping_keeps_the_mean_squared_error_of_a_large_sample():
    """Bias and variance of clipped batches of 4, against 40,000 other batches clipped by torch."""
    limit, B = 1.0, 4
    pool = torch.cat(list(subject().estimates(Address.fresh(10**6, B * 40_000), 1, B)))
    cut = clipped(pool, norm=limit)
    truth = FAMILY.truth(FAMILY.theta(0), 1, 0.1)
    expected = {
        "clipped_variance": float(cut.var(0).sum()),
        "clipping_bias": float(((cut.mean(0) - torch.from_numpy(truth.mean)) ** 2).sum()),
        "clipped_share": float((pool.norm(dim=1) > limit).double().mean()),
    }
    expected["clipped_error"] = expected["clipped_variance"] + expected["clipping_bias"]
    assert 0.1 < expected["clipped_share"] < 0.9

    hits = dict.fromkeys(expected, 0)
    for seed in range(2, 22):
        table, _ = measured(seed=seed, clip_norm=limit)
        for name, value in expected.items():
            row = by_size(table, name)[4.0]
            hits[name] += row.low <= value <= row.high

    # at a true coverage of 95 %, 15 of 20 or fewer have a probability of 0.3 %
    assert min(hits.values()) > 15, hits


def test_a_limit_that_nothing_meets_changes_nothing():
    table, findings = measured(clip_norm=1e6)

    variance, after = by_size(table, "variance"), by_size(table, "clipped_variance")
    assert {at: row.value for at, row in after.items()} == pytest.approx(
        {at: row.value for at, row in variance.items()}
    )
    assert {row.value for row in by_size(table, "clipped_share").values()} == {0.0}
    (finding,) = [f for f in findings if f.name == "clipping"]
    assert "its effect is not measured" in finding.claim
    assert finding.state == "undecided"


def test_a_limit_far_below_the_signal_is_warned_about():
    table, findings = measured(Quadratic(dim=8, offset=5.0), clip_norm=0.5)

    (finding,) = [f for f in findings if f.name == "clipping"]
    assert finding.level == "warning"
    assert "Raise the limit" in finding.repair
    assert by_size(table, "clipped_error")[16.0].low > by_size(table, "variance")[16.0].high


def test_clipping_gives_a_heavy_tail_a_variance():
    table, findings = measured(Quadratic(dim=8, shots=3, queries=3, tail=1.2), clip_norm=2.0)

    assert {row.status for row in by_size(table, "variance").values()} == {"withheld"}
    assert all(row.low < row.value for row in by_size(table, "clipped_variance").values())
    assert {row.status for row in by_size(table, "clipping_bias").values()} == {"withheld"}
    assert any("Without clipping the variance does not exist" in f.claim for f in findings)


def test_adams_update_of_a_noisy_gradient_falls_slower_than_its_batch_grows():
    table, findings = measured(Quadratic(dim=8, offset=0.05), outer_optimizer="adam")

    (slope,) = from_table(table, "update_slope")
    assert slope.low > -0.5
    assert any(f.name == "update_noise" for f in findings)
    (warm,) = from_table(table, "warm_steps", of="adam")
    assert warm.value == 64


def test_what_the_outer_loop_cannot_be_is_refused():
    with pytest.raises(InvalidInput, match="clip_norm is 0"):
        Variance(clip_norm=0)
    with pytest.raises(InvalidInput, match="did you mean 'adam'"):
        Variance(outer_optimizer="adm")
