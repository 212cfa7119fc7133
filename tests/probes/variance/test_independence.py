"""Is a batch said to vary as V1/B, and tasks to depend on each other, only where that is so?"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
import torch

import metabench as mb
from metabench.estimation.vectorization import Vectorization
from metabench.families.quadratic import Quadratic
from metabench.families.sinusoid import Sinusoid
from metabench.probes.variance.collect import InMemory, OnDisk
from metabench.probes.variance.measure_independence import WIDTH, signed_sums
from metabench.problems.samplers import has_independent_tasks
from metabench.records.rows import Row, from_table, to_table
from metabench.settings import registry

FAMILY = Quadratic(dim=8, shots=3, queries=3)
ALGORITHM = mb.MAML(steps=2, inner_optimizer=mb.SGD(0.3))


def measured(sample, tasks=512, seed=1, algorithm=ALGORITHM, **settings):
    settings = {"redrawn_tasks": 0, **settings}
    theta = FAMILY.theta(0)
    subject = mb.Subject(FAMILY.problem(), sample, algorithm, theta, Vectorization(chunk=4096))
    probe = mb.Variance(tasks=tasks, **settings)
    table = to_table(probe.measure(subject, seed))
    return table, {finding.name: finding for finding in probe.find(table)}


def undeclared(address, seed):
    return FAMILY.sample(address, seed)


def neighbors(address, seed, weight=1.0):
    """Eight consecutive tasks share a part of their center."""
    near = FAMILY.sample(address._replace(task=10**6 + address.task // 8), seed)
    far = FAMILY.sample(address, seed)
    shift = weight * near.query[1].mean(1, keepdim=True)
    return far._replace(query=(far.query[0], far.query[1] + shift))


def only(table, quantity):
    (row,) = from_table(table, quantity)
    return row


@pytest.mark.parametrize("name", sorted(registry.members("families")))
def test_built_in_samplers_declare_independent_tasks(name):
    assert has_independent_tasks(registry.load("families", name).sample)


def test_a_sampler_that_overrides_a_declared_one_is_tested():
    @dataclass(frozen=True)
    class Other(Sinusoid):
        def sample(self, address, seed):
            return super().sample(address, seed)

    assert has_independent_tasks(Sinusoid().sample)
    assert not has_independent_tasks(Other().sample)
    declared = mb.independent_tasks(lambda indices, seed: None)
    assert has_independent_tasks(mb.Indexed(declared))
    assert not has_independent_tasks(mb.Indexed(lambda indices, seed: None))


def test_declared_independence_is_never_accused_whatever_the_slope():
    """One of 216 cells of the sinusoid had been called dependent, by chance."""
    rows = (
        Row("slope", value=-0.7, low=-0.8, high=-0.6),
        Row("independence", status="holds"),
        Row("mean_norm_squared", value=1.0, low=0.9, high=1.1),
        Row("noise_scale", value=5.0, low=4.0, high=6.0),
    )

    findings = {each.name: each for each in mb.Variance(batch=25).find(to_table(rows))}

    assert findings["independent_tasks"].state == "fine"
    assert findings["noise_scale"].state == "fine"
    assert not {"dependent_tasks", "slope_unclear"} & findings.keys()


def test_independent_tasks_of_a_plain_sampler_are_never_called_dependent():
    found = [measured(undeclared, tasks=256, seed=seed)[0] for seed in range(40)]

    p = [only(table, "independence").value for table in found]
    assert {only(table, "independence").status for table in found} == {"not refuted"}
    assert sum(value < 0.05 for value in p) <= 8  # more has a probability below 0.1 %


def test_tasks_correlated_over_eight_neighbors_are_a_fault_and_no_noise_scale_is_printed():
    """The variance of a batch is measured by brute force on fresh batches."""
    table, findings = measured(neighbors, tasks=1024)

    theta, problem = FAMILY.theta(0), FAMILY.problem()
    subject = mb.Subject(problem, neighbors, ALGORITHM, theta, Vectorization(chunk=4096))
    grads = subject.meta_gradients(mb.Address.fresh(10**5, 8 * 4000), 5).grad.double()
    means = grads.view(4000, 8, -1).mean(1)
    excess = 8 * means.var(0).sum() / grads.var(0).sum()
    assert excess > 1.4
    assert only(table, "independence").value <= 1e-4
    assert only(table, "batch_excess").value > 1.2
    assert (findings["dependent_tasks"].level, findings["dependent_tasks"].state) == (
        "critical",
        "fault",
    )
    assert "positively correlated" in findings["dependent_tasks"].claim
    assert only(table, "noise_scale").status == "withheld"
    assert not {"noise_scale", "independent_tasks"} & findings.keys()


def test_a_slope_that_excludes_minus_one_withholds_what_rests_on_the_variance_of_a_batch():
    """Its permutation test not rejecting: nothing is said of B."""
    rows = (
        Row("slope", value=-0.7, low=-0.905, high=-0.493),
        Row("independence", value=0.02, status="not refuted"),
        Row("mean_norm_squared", value=1.0, low=0.9, high=1.1),
        Row("noise_scale", value=5.0, low=4.0, high=6.0),
    )

    findings = mb.Variance(batch=25).find(to_table(rows))

    assert {(f.name, f.state) for f in findings} == {
        ("slope_unclear", "undecided"),
        ("noise_unclear", "undecided"),
    }
    text = " ".join(f.claim + f.repair for f in findings)
    assert "the variance of B tasks may not be that of one task over B" in text
    assert "larger batch" not in text
    assert "of a step without noise" not in text


@pytest.mark.parametrize("batched", [False, True])
def test_an_estimator_of_whole_batches_is_tested_even_if_its_tasks_are_independent(batched):
    """It may be no mean over tasks, so that V1/B need not be its variance."""

    def estimate(theta, task):
        return None, {name: value + task.query[1].mean() for name, value in theta.items()}

    algorithm = mb.BlackBox(estimate, batched=batched)

    table, _ = measured(FAMILY.sample, tasks=64, algorithm=algorithm)

    assert only(table, "independence").status == ("not refuted" if batched else "holds")


@pytest.mark.parametrize("Q", [5, WIDTH, 300])
def test_signed_sums_keep_squared_distances_and_are_the_same_from_a_file(Q):
    vectors = np.random.default_rng(0).standard_normal((64, Q))
    sums = np.mean(
        [(np.diff(signed_sums(InMemory(vectors), Q, s), axis=0) ** 2).sum() for s in range(200)]
    )

    truth = (np.diff(vectors, axis=0) ** 2).sum()

    assert sums == pytest.approx(truth, rel=1e-12 if Q <= WIDTH else 0.02)
    on_disk = OnDisk(iter([vectors[:20], vectors[20:]]))
    np.testing.assert_array_equal(signed_sums(on_disk, Q, 1), signed_sums(InMemory(vectors), Q, 1))


def test_a_meta_gradient_that_is_not_finite_leaves_independence_open():
    def broken(address, seed):
        tasks = FAMILY.sample(address, seed)
        bad = torch.from_numpy(address.task == 17)[:, None, None]
        return tasks._replace(query=(tasks.query[0], tasks.query[1].masked_fill(bad, float("nan"))))

    table, findings = measured(broken)

    assert only(table, "independence").status == "open"
    assert not {"dependent_tasks", "independent_tasks"} & findings.keys()
