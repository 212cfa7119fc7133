"""Does the variance probe say what is true, and only that?"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure

from metabench.algorithms.inner_optimizers.sgd import SGD
from metabench.algorithms.maml import MAML
from metabench.estimation.estimator_on_tasks import Subject
from metabench.estimation.vectorization import Vectorization
from metabench.families.quadratic import Quadratic
from metabench.families.sinusoid import Sinusoid
from metabench.probes.variance import Variance
from metabench.problems.tasks import Address
from metabench.records.rows import from_table, to_table
from metabench.settings.errors import InvalidInput

FAMILY = Quadratic(dim=8, shots=3, queries=3)
ALGORITHM = MAML(steps=2, inner_optimizer=SGD(rate=0.3))


def subject(family=FAMILY, algorithm=ALGORITHM, dtype=torch.float64, chunk=4096) -> Subject:
    theta = family.theta(0).to(dtype)
    return Subject(family.problem(), family.sample, algorithm, theta, Vectorization(chunk=chunk))


def measured(family=FAMILY, tasks=512, seed=1, algorithm=ALGORITHM, **settings):
    probe = Variance(tasks=tasks, **settings)
    table = to_table(probe.measure(subject(family, algorithm), seed))
    return probe, table


def only(table, quantity):
    (row,) = from_table(table, quantity)
    return row


def untimed(table):
    return table[~table["quantity"].str.contains("seconds")]


def test_every_quantity_is_there_at_every_size():
    _, table = measured()

    at = set(Variance(tasks=512).plan)
    for quantity in ("variance", "snr", "seconds", "diverged"):
        assert {row.at for row in from_table(table, quantity)} == at
    for quantity in ("slope", "task_variance", "mean_norm_squared", "noise_scale"):
        assert only(table, quantity).status == "ok"


def test_large_samples_come_close_to_the_closed_forms():
    truth = FAMILY.truth(FAMILY.theta(0), steps=2, rate=0.3)

    _, table = measured(tasks=16384)

    assert only(table, "task_variance").value == pytest.approx(truth.variance, rel=0.05)
    assert only(table, "noise_scale").value == pytest.approx(truth.noise_scale, rel=0.2)
    for row in from_table(table, "variance"):
        # 128 batches: a relative error of about sqrt(2 / 128 / effective dimension)
        assert row.value == pytest.approx(truth.variance / row.at, rel=0.4)


@pytest.fixture(scope="module")
def repeated():
    """A hundred small runs at as many seeds; nothing is redrawn or timed: no interval needs it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("metabench.probes.variance.measure_seconds.seconds_taken", lambda *_: 1.0)
        return [measured(tasks=256, seed=seed + 10, redrawn_tasks=0)[1] for seed in range(100)]


def test_intervals_cover_the_closed_forms(repeated):
    """A small run of reports/variance_calibration."""
    truth = FAMILY.truth(FAMILY.theta(0), steps=2, rate=0.3)
    expected = {
        "task_variance": truth.variance,
        "noise_scale": truth.noise_scale,
        "slope": -1.0,
        "mean_norm_squared": truth.mean_norm_squared,
    }
    hits = dict.fromkeys(expected, 0)

    for table in repeated:
        for quantity, value in expected.items():
            row = only(table, quantity)
            assert row.low is not None
            hits[quantity] += row.low <= value <= (np.inf if row.high is None else row.high)

    for quantity, count in hits.items():
        # at a true coverage of 95 %, 86 hits or fewer have a probability below 0.1 %
        assert count > 86, quantity


def test_the_same_seed_gives_the_same_bits_and_another_does_not():
    def numbers(seed):
        return untimed(measured(seed=seed)[1])

    assert numbers(1).equals(numbers(1))
    assert not numbers(1).equals(numbers(2))


def test_the_chunk_matters_only_to_round_off():
    probe = Variance(tasks=128)

    tables = [untimed(to_table(probe.measure(subject(chunk=chunk), 3))) for chunk in (5, 32, 4096)]

    for other in tables[1:]:
        np.testing.assert_allclose(tables[0]["value"], other["value"], rtol=1e-9)


def test_batches_of_each_size_are_disjoint_and_fresh():
    drawn = []

    def recording(address: Address, seed: int):
        drawn.extend(address.task.tolist())
        return FAMILY.sample(address, seed)

    probe = Variance(tasks=64)
    recorded = Subject(FAMILY.problem(), recording, ALGORITHM, FAMILY.theta(0))

    probe.measure(recorded, seed=0)

    planned = sum(B * batches for B, batches in probe.plan.items())
    assert sorted(drawn[:planned]) == list(range(planned))


@dataclass(frozen=True)
class Neighbors(Quadratic):
    """Planted: four consecutive tasks share their center, as when a loader sorts by class."""

    def sample(self, address, seed):
        near = super().sample(address._replace(task=address.task // 4), seed)
        far = super().sample(address, seed)
        shift = near.query[1].mean(1, keepdim=True)
        return far._replace(query=(far.query[0], far.query[1] + shift))


@dataclass(frozen=True)
class Balanced(Quadratic):
    """Planted: consecutive tasks come in pairs with opposite centers."""

    def sample(self, address, seed):
        tasks = super().sample(address._replace(task=address.task // 2), seed)
        sign = torch.where(torch.from_numpy(address.task) % 2 == 0, 1.0, -1.0)[:, None, None]
        flip = [(a, z * sign) for a, z in (tasks.support, tasks.query)]
        return tasks._replace(support=flip[0], query=flip[1])


def test_correlated_neighbors_are_the_first_finding_and_the_noise_scale_is_not_reported():
    probe, table = measured(Neighbors(dim=8, shots=3, queries=3), tasks=2048)

    first = probe.find(table)[0]

    assert first.name == "dependent_tasks"
    assert first.level == "critical"
    assert "positively correlated" in first.claim
    assert only(table, "slope").value > -0.9
    assert only(table, "noise_scale").status == "withheld"
    assert {row.status for row in from_table(table, "snr")} == {"withheld"}


def test_stratified_pairs_are_distinguished_from_independent_tasks():
    probe, table = measured(Balanced(dim=8, shots=3, queries=3), tasks=2048)

    finding = next(f for f in probe.find(table) if f.name == "dependent_tasks")

    assert only(table, "slope").value < -1.1
    assert "negatively correlated" in finding.claim


def test_healthy_tasks_are_not_accused(repeated):
    probe = Variance(tasks=256, redrawn_tasks=0)

    for table in repeated:
        assert not {"dependent_tasks", "slope_unclear"} & {f.name for f in probe.find(table)}


def test_a_batch_below_the_noise_scale_is_warned_about_and_one_above_is_not():
    def finding(batch):
        probe, table = measured(tasks=4096, batch=batch, redrawn_tasks=0)
        return next(f for f in probe.find(table) if f.name == "noise_scale")

    assert finding(2).level == "warning"
    assert "Raise the task batch" in finding(2).repair
    assert finding(100_000).level == "info"
    assert "larger batch would gain at most" in finding(100_000).repair


def test_no_signal_is_said_so_with_the_tasks_that_would_do():
    family = Quadratic(dim=8, shots=3, queries=3, offset=0.0)  # theta at the optimum: E g = 0

    probe, table = measured(family, tasks=256)

    assert only(table, "mean_norm_squared").status == "unresolved"
    scale = only(table, "noise_scale")
    assert (scale.status, scale.high) == ("unbounded", None)
    (found,) = [each for each in probe.find(table) if each.name == "no_signal"]
    assert (found.level, found.state) == ("info", "undecided")
    assert "not distinguishable from zero" in found.claim
    assert "--tasks" in found.repair


@dataclass(frozen=True)
class Exploding(Quadratic):
    """Planted: one task in fifty has a support target that is not finite."""

    def sample(self, address, seed):
        tasks = super().sample(address, seed)
        bad = torch.from_numpy(address.task % 50 == 17)[:, None, None]
        a, z = tasks.support
        return tasks._replace(support=(a, z.masked_fill(bad, float("inf"))))


def test_meta_gradients_that_are_not_finite_are_counted_and_said():
    probe, table = measured(Exploding(dim=8, shots=3, queries=3))

    alone = next(row for row in from_table(table, "diverged") if row.at == 1)
    assert alone.value == pytest.approx(10 / 512)
    assert alone.low < 1 / 50 < alone.high
    assert only(table, "first_diverged").value == 17
    for quantity in ("task_variance", "noise_scale", "slope", "mean_norm_squared"):
        row = only(table, quantity)
        assert (row.value, row.status) == (None, "diverged")
    first = probe.find(table)[0]
    assert (first.name, first.level) == ("diverged", "critical")
    assert "task 17" in first.claim


def test_identical_tasks_have_no_variance_and_no_interval():
    family = Quadratic(dim=4, spread=0.0, noise=0.0, jitter=0.0)

    probe, table = measured(family, tasks=64)

    row = only(table, "task_variance")
    # round-off of a mean of equal numbers is all that is left
    assert row.value < 1e-25
    assert (row.status, row.low, row.high) == ("degenerate", None, None)
    assert only(table, "slope").status == "degenerate"
    assert probe.find(table)[0].name == "no_variation"


@pytest.mark.parametrize("family", [FAMILY, Exploding(dim=3), Quadratic(offset=0.0, dim=3)])
def test_every_table_can_be_drawn(family):
    probe, table = measured(family, tasks=64)
    axes = Figure().subplots()

    probe.draw(table, axes)

    assert "B" in axes.get_xlabel()


def test_the_network_and_float32_path_runs_on_sinusoids():
    probe = Variance(tasks=64, batch=4)

    table = to_table(
        probe.measure(subject(Sinusoid(hidden=(8,)), MAML(), torch.float32, 64), seed=0)
    )

    assert only(table, "task_variance").value > 0
    assert probe.find(table)


def test_progress_reaches_its_end_and_never_goes_back():
    seen = []

    Variance(tasks=64).measure(subject(chunk=16), 0, lambda done, total: seen.append((done, total)))

    done, totals = zip(*seen, strict=True)
    assert list(done) == sorted(done)
    assert done[-1] == totals[-1]
    assert len(set(totals)) == 1


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"batch": 0}, "B is 0"),
        ({"sizes": (0, 2)}, "B is 0"),
        ({"tasks": 20}, "--tasks 32"),
        ({"tasks": 100, "sizes": (4, 8)}, "--tasks 128"),
        ({"batches": 3}, "at least 16"),
    ],
)
def test_settings_that_measure_nothing_are_refused(settings, words):
    with pytest.raises(InvalidInput, match=words):
        Variance(**settings)


def test_finite_meta_gradients_whose_squares_overflow_are_said_so():
    for rate, steps in ((1e40, 2), (1e20, 2), (1e20, 5)):
        huge = MAML(steps=steps, inner_optimizer=SGD(rate=rate))

        probe, table = measured(tasks=64, algorithm=huge, redrawn_tasks=0)

        assert only(table, "task_variance").status in ("overflow", "diverged", "withheld")
        assert probe.find(table)[0].level == "critical"


def test_a_noise_scale_that_could_be_zero_is_not_acted_on():
    probe, table = measured(tasks=64, redrawn_tasks=0)
    table.loc[table["quantity"] == "noise_scale", "low"] = 0.0

    names = [finding.name for finding in probe.find(table)]

    assert "noise_unclear" in names
    assert "noise_scale" not in names


@pytest.mark.parametrize(
    ("low", "value", "high", "name"),
    [
        (-1.04, -1.0, -0.96, "independent_tasks"),
        (-1.1, -1.0, -0.9, "slope_unclear"),
        (-1.6, -0.8, -0.2, "slope_unclear"),
        (-1.16, -1.09, -1.02, "slope_unclear"),
    ],
)
def test_independence_is_claimed_only_where_the_interval_supports_it(low, value, high, name):
    probe, table = measured(tasks=64, redrawn_tasks=0)
    slope = table["quantity"] == "slope"
    table.loc[slope, ["low", "value", "high", "status"]] = [low, value, high, "ok"]
    table = table[table["quantity"] != "independence"]  # which the family declares

    assert name in [finding.name for finding in probe.find(table)]
