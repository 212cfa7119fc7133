"""Is the accuracy that training validates with the share of query examples classified rightly?"""

from __future__ import annotations

import cases
import pytest
import torch
from torch import nn

from metabench.algorithms.inner_optimizers.sgd import SGD
from metabench.algorithms.maml import MAML
from metabench.algorithms.mamlpp import MAMLPP
from metabench.estimation.estimator_on_tasks import Subject
from metabench.families.blobs import Blobs
from metabench.outer_loop.optimizer_settings import OuterOptimizer
from metabench.outer_loop.trainer import Trainer
from metabench.problems.problem import Problem
from metabench.problems.tasks import Address
from metabench.records.rows import Row, to_table
from metabench.settings.errors import InvalidInput
from metabench.training.chance import chance_accuracy
from metabench.training.find import find
from metabench.training.measure import validate_and_probe

FAMILY = Blobs(ways=3, shots=4, queries=8, hidden=(5,))


def subject(algorithm):
    return Subject(FAMILY.problem(), FAMILY.sample, algorithm, FAMILY.theta(0))


def test_it_is_what_a_loop_over_tasks_counts():
    trainer = Trainer(subject(MAML(2, SGD(0.5))), OuterOptimizer(held_out=6), steps=1)

    rows = validate_and_probe(trainer, ())

    tasks, rights = trainer.subject.draw(trainer._held_out, 0), []
    names = FAMILY.problem().layouts.phi
    for i in range(6):
        (x, y), (query, labels) = ((leaf[i] for leaf in part) for part in tasks[:2])
        phi = [v.clone().requires_grad_() for v in names.unflatten(trainer.theta).values()]

        def scores(phi, x):
            return nn.functional.linear(
                torch.relu(nn.functional.linear(x, phi[0], phi[1])), phi[2], phi[3]
            )

        for _ in range(2):
            slopes = torch.autograd.grad(nn.functional.cross_entropy(scores(phi, x), y), phi)
            phi = [
                (p - 0.5 * g).detach().requires_grad_() for p, g in zip(phi, slopes, strict=True)
            ]
        rights.append(float((scores(phi, query).argmax(1) == labels).double().mean()))
    assert [row.quantity for row in rows] == ["validation", "accuracy", "chance_accuracy"]
    assert rows[1].value == pytest.approx(sum(rights) / 6, rel=1e-12)
    assert 0.3 < rows[1].value < 1


@pytest.mark.parametrize("name", cases.ALGORITHMS)
def test_every_algorithm_gives_it_beside_its_loss(name):
    of = subject(cases.algorithm(name))
    task = cases.one(of.draw(Address.fresh(0, 1), 0), 0)

    loss, right = of.algorithm.objective(of.problem.with_accuracy(), of.theta, task)

    expected = of.algorithm.objective(of.problem, of.theta, task)
    torch.testing.assert_close(loss, expected, rtol=1e-12, atol=0)
    share = float(right.detach()) * 24  # of query points; of each of bmaml's five particles
    assert 0 <= share <= 24
    assert share * 5 == pytest.approx(round(share * 5), abs=1e-9)


def test_running_statistics_are_used_for_it_too():
    net = nn.Sequential(nn.Linear(2, 5), nn.BatchNorm1d(5), nn.ReLU(), nn.Linear(5, 3)).double()
    problem = Problem.from_module(net, nn.CrossEntropyLoss())
    algorithm = MAMLPP(steps=2, statistics="running")
    of = Subject(problem, FAMILY.sample, algorithm, problem.theta)
    task = cases.one(of.draw(Address.fresh(0, 1), 0), 0)

    loss, right = algorithm.objective(of.problem.with_accuracy(), of.theta, task)

    assert torch.equal(loss, algorithm.objective(of.problem, of.theta, task))
    assert 0 <= float(right.detach()) <= 1


def test_where_nothing_is_classified_there_is_none():
    problem = cases.problem()

    assert problem.accuracy is None
    with pytest.raises(InvalidInput, match="its loss isn't one of torch's cross-entropies"):
        problem.with_accuracy()


def trained(accuracy, width=0.01, chance=0.2):
    rows = [
        Row(name, at=at, value=value, low=value - width, high=value + width)
        for name, at, value in (
            ("validation", 0.0, 1.6), ("validation", 10.0, 1.5), ("accuracy", 10.0, accuracy),
        )
    ]  # fmt: skip
    rows += [Row("gain", value=0.1, low=0.09, high=0.11), Row("chance_accuracy", value=chance)]
    (found,) = find(to_table(rows))
    return found


@pytest.mark.parametrize(
    ("accuracy", "name", "state"),
    [
        (0.21, "near_chance", "fault"),
        (0.28, "near_chance", "undecided"),  # a tenth of the way to 1 is .28
        (0.35, "progress", "fine"),
    ],
)
def test_progress_is_not_fine_while_accuracy_is_near_that_of_constant_predictions(
    accuracy, name, state
):
    found = trained(accuracy)

    assert (found.name, found.state) == (name, state)
    assert "the best constant prediction has 0.2" in found.claim


def test_the_chance_level_is_that_of_the_best_constant_answer_on_each_task():
    tasks = FAMILY.sample(Address.fresh(0, 40), 0)

    best = [
        max(float((labels == each).double().mean()) for each in range(FAMILY.ways))
        for labels in tasks.query[1]
    ]

    assert chance_accuracy(tasks) == pytest.approx(sum(best) / 40)
    assert chance_accuracy(tasks._replace(query=(torch.rand(3, 4), torch.rand(3, 4)))) is None
