"""Is each planted fault named by the first finding, and none where nothing is planted?"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch

from metabench.algorithms.inner_optimizers.sgd import SGD
from metabench.algorithms.maml import MAML
from metabench.estimation.estimator_on_tasks import Subject
from metabench.estimation.redraws import redraws
from metabench.estimation.vectorization import Vectorization
from metabench.families.digits import Digits
from metabench.families.quadratic import Quadratic
from metabench.probes.variance import Variance
from metabench.records.rows import from_table, to_table

PLAIN = Quadratic(dim=8, shots=3, queries=3)


def measured(family, algorithm=None, tasks=2048, **settings):
    algorithm = algorithm or MAML(steps=1, inner_optimizer=SGD(rate=0.1))
    theta = family.theta(0).double()
    subject = Subject(family.problem(), family.sample, algorithm, theta, Vectorization(chunk=4096))
    probe = Variance(tasks=tasks, sizes=(1, 4, 16), **settings)
    table = to_table(probe.measure(subject, 1))
    return table, probe.find(table)


@dataclass(frozen=True)
class Pool(Quadratic):
    """Fifty tasks, over and over, in random order."""

    def sample(self, address, seed):
        which = np.random.default_rng(5).integers(0, 50, 10**6)[address.task]
        return super().sample(address._replace(task=which), seed)


@dataclass(frozen=True)
class Neighbors(Quadratic):
    """Four consecutive tasks share a shift of their query targets."""

    def sample(self, address, seed):
        near = super().sample(address._replace(task=address.task // 4), seed)
        far = super().sample(address, seed)
        shift = near.query[1].mean(1, keepdim=True)
        return far._replace(query=(far.query[0], far.query[1] + shift))


@dataclass(frozen=True)
class Outliers(Quadratic):
    """One task in a hundred has targets 200 times as far."""

    def sample(self, address, seed):
        tasks = super().sample(address, seed)
        far = torch.where(torch.from_numpy(address.task) % 100 == 37, 200.0, 1.0)[:, None, None]
        scaled = [(a, far * z) for a, z in (tasks.support, tasks.query)]
        return tasks._replace(support=scaled[0], query=scaled[1])


@dataclass(frozen=True)
class OneQuery(Quadratic):
    """All tasks share their center and one query set: only support draws differ."""

    def sample(self, address, seed):
        zero = 0 * address.task
        same = super().sample(address._replace(task=zero, query=zero), seed)
        draws = super().sample(address, seed)
        return draws._replace(query=same.query)


@dataclass(frozen=True)
class Exact(Quadratic):
    """Support and query noise a hundredth of the spread of the tasks."""

    noise: float = 0.01
    jitter: float = 0.01


@pytest.mark.parametrize(
    ("family", "name", "words"),
    [
        (Pool(dim=8, shots=3, queries=3), "finite_pool", "only 50 different tasks"),
        (Neighbors(dim=8, shots=3, queries=3), "dependent_tasks", "positively correlated"),
        (Outliers(dim=8, shots=3, queries=3), "heavy_tail", "variance does not exist"),
        (
            OneQuery(dim=8, shots=3, queries=100, spread=0, offset=0.05),
            "dominant_source",
            "by source: support",
        ),
        (Exact(dim=8, shots=3, queries=3), "dominant_source", "by source: tasks "),
    ],
)
def test_what_was_planted_is_the_first_finding(family, name, words):
    fast = MAML(steps=1, inner_optimizer=SGD(rate=1.0))  # so that support draws matter
    _, findings = measured(family, fast if name == "dominant_source" else None, batch=1)

    assert findings[0].name == name
    assert words in findings[0].claim
    assert findings[0].level != "info"


def test_where_noise_comes_from_is_no_warning_where_there_is_little():
    _, findings = measured(Exact(dim=8, shots=3, queries=3), batch=4096)

    (found,) = [finding for finding in findings if finding.name == "dominant_source"]
    assert found.level == "info"


@pytest.mark.parametrize("seed", [0, 1])
def test_a_plain_sampler_is_not_accused(seed):
    family = replace(PLAIN, offset=0.5 + seed)

    _, findings = measured(family)

    assert {finding.level for finding in findings} == {"info"}


def test_the_largest_of_the_outliers_is_named_and_no_variance_printed():
    table, findings = measured(Outliers(dim=8, shots=3, queries=3))

    (largest,) = from_table(table, "largest_task")
    assert largest.value % 100 == 37
    assert f"task {largest.value:.0f}" in findings[0].claim
    (top,) = from_table(table, "top_share")
    assert top.value > 0.98
    for quantity in ("task_variance", "noise_scale", "slope"):
        (row,) = from_table(table, quantity)
        assert (row.value, row.status) == (None, "withheld")
    assert {r.status for r in from_table(table, "component", of=None)} == {"withheld"}


@dataclass(frozen=True)
class Fixed(Quadratic):
    """Each task comes with the sets that it has, whatever redraw is asked for."""

    def sample(self, address, seed):
        zero = np.zeros_like(address.task)
        return super().sample(address._replace(support=zero, query=zero), seed)


@dataclass(frozen=True)
class FixedQuery(Quadratic):
    """Each task comes with one query set; support sets are drawn."""

    def sample(self, address, seed):
        return super().sample(address._replace(query=0 * address.query), seed)


@dataclass(frozen=True)
class Coupled(Quadratic):
    """A redraw of the support set is a redraw of the query set."""

    def sample(self, address, seed):
        return super().sample(address._replace(query=address.support), seed)


@pytest.mark.parametrize(
    ("family", "words"),
    [(Fixed(dim=3), "redrawing a task's support or query set changes nothing"),
     (Coupled(dim=3), "because redrawing the support set also changes other draws")],
)  # fmt: skip
def test_components_are_withheld_in_words_where_nothing_can_be_redrawn(family, words):
    table, findings = measured(family, tasks=512)

    rows = from_table(table, "component", of=None)
    assert {r.value for r in rows if r.of in ("support", "query")} == {None}
    assert any(words in finding.claim for finding in findings)


def test_a_fixed_query_set_is_counted_with_its_task():
    table, findings = measured(FixedQuery(dim=8, shots=3, queries=3))

    truth = PLAIN.truth(PLAIN.theta(0), 1, 0.1)
    rows = {r.of: r for r in from_table(table, "component", of=None)}
    together = rows["task + query"]
    expected = truth.components["task"] + truth.components["query"]
    assert together.value == pytest.approx(expected, abs=together.high - together.low)
    both = truth.components["support"] + truth.components["support x query"]
    assert rows["support"].low < both < rows["support"].high
    assert rows["query"].status == "not_redrawable"
    assert any(
        "fixed query set, so its variance is counted as variance between tasks" in finding.claim
        for finding in findings
    )


@dataclass(frozen=True)
class Labelled(Quadratic):
    """Planted: a label draw shifts every query target by N(0, 2^2) in each coordinate."""

    def sample(self, address, seed):
        tasks = super().sample(address, seed)
        which = address._replace(task=10**6 + 100 * address.task + address.label)
        shift = 2 * super().sample(which._replace(support=0 * which.task), seed).query[1][:, :1]
        return tasks._replace(query=(tasks.query[0], tasks.query[1] + shift))


def test_labels_are_a_source_of_their_own():
    """With unit centers and no noise elsewhere, the shift's variance is 4 a coordinate."""
    family = Labelled(dim=4, shots=3, queries=3, noise=0.0, jitter=0.0, condition=1.0)

    table, _ = measured(family, MAML(steps=0))

    rows = {r.of: r for r in from_table(table, "component", of=None)}
    assert rows["label"].low < 4 * 4 < rows["label"].high


def test_digits_have_labels_and_sinks_of_noise_are_absent_where_they_cannot_be():
    def states(algorithm):
        family = Digits(filters=2)
        theta = family.theta(0)
        return redraws(Subject(family.problem(), family.sample, algorithm, theta), 0)

    assert states(MAML()) == {"support": "ok", "query": "ok", "inner": "zero", "label": "ok"}
    assert states(MAML(batch=2))["inner"] == "ok"
    assert states(MAML(steps=0))["support"] == "zero"
