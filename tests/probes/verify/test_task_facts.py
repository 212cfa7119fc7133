"""Are equal, overlapping and impossible sets told, and ordinary tasks left alone?"""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy, mse_loss

import metabench as mb
from metabench.probes.verify import Verify
from metabench.records.rows import to_table

torch.manual_seed(0)
NET = nn.Linear(2, 3).double()


def sample(indices, seed):
    tasks = []
    for i in indices:
        generator = torch.Generator().manual_seed(1000 * seed + int(i))
        x = torch.randn(12, 2, generator=generator, dtype=torch.float64)
        y = torch.arange(12) % 3
        tasks.append(((x[:6] + y[:6, None], y[:6]), (x[6:] + y[6:, None], y[6:])))
    return torch.utils.data.default_collate(tasks)


def changed(change):
    def draw(indices, seed):
        return change(*sample(indices, seed))

    return draw


def facts(draw, loss=cross_entropy):
    problem = mb.Problem.from_module(NET, loss, tasks=mb.Indexed(draw))
    algorithm = mb.MAML(1, mb.SGD(0.3))
    subject = mb.Subject(problem, problem.tasks, algorithm, problem.theta)
    probe = Verify(directions=1)
    found = probe.find(to_table(probe.measure(subject, 0)))
    assert not any(each.name.startswith("check_") for each in found)
    assert {each.level for each in found} == {"info"}
    return {each.name: each for each in found if each.name.startswith("task_")}


def some(support, query):
    x, y = query[0].clone(), query[1].clone()
    x[:, 0], y[:, 0] = support[0][:, 2], support[1][:, 2]
    return support, (x, y)


def one_class_less(support, query):
    x, y = support
    return (x, torch.where(y == 2, 1, y)), query


PLANTED = {
    "task_support_is_query": (changed(lambda s, q: (s, s)), "100 % of the tasks"),
    "task_query_in_support": (changed(some), "Of the query inputs, 16.7 % are"),
    "task_class_missing": (changed(one_class_less), "In 100 % of the tasks"),
    "task_equal_tasks": (lambda i, seed: sample([k // 2 for k in i], seed), "8 equal an earlier"),
    "task_seed_has_no_effect": (lambda i, seed: sample(i, 0), "the same tasks for another seed"),
}


@pytest.mark.parametrize("name", PLANTED)
def test_what_is_wrong_with_the_tasks_is_told_alone(name):
    draw, words = PLANTED[name]

    found = facts(draw)

    assert set(found) - {"task_adaptation"} == {name}
    assert words in found[name].claim


def test_ordinary_tasks_are_left_alone():
    assert facts(sample) == {}


def test_shuffled_support_labels_show_as_adaptation_that_does_not_help():
    def shuffled(indices, seed):
        (x, y), query = sample(indices, seed)
        return (x, (y + 1) % 3), query

    (found,) = facts(shuffled).values()

    assert found.name == "task_adaptation"
    assert found.state == ""
    row = found.evidence[0]
    assert row.low <= row.value <= row.high
    assert row.high > 0


def test_equal_matrices_of_all_examples_are_no_overlap():
    """A family whose first tensor is the same for all examples, as a quadratic's curvature."""
    family = mb.Quadratic(dim=2, jitter=0.0)
    subject = mb.Subject(family.problem(), family.sample, mb.MAML(1), family.theta(0))
    probe = Verify(directions=1, thorough=False)

    found = probe.find(to_table(probe.measure(subject, 0)))

    assert not any(each.name.startswith("task_") for each in found)


def test_regression_targets_are_no_classes():
    def numbers(indices, seed):
        (x, y), (query, _) = sample(indices, seed)
        other = query @ torch.ones(2, 3).double() + 9
        return (x, y[..., None].expand(-1, -1, 3).double()), (query, other)

    assert "task_class_missing" not in facts(numbers, mse_loss)


def test_a_sampler_with_random_numbers_of_its_own_is_a_fault():
    def draw(indices, seed):
        (x, y), query = sample(indices, seed)
        return (x + torch.randn_like(x), y), query

    problem = mb.Problem.from_module(NET, cross_entropy, tasks=mb.Indexed(draw))
    subject = mb.Subject(problem, problem.tasks, mb.MAML(1, mb.SGD(0.3)), problem.theta)
    probe = Verify(directions=1, thorough=False)

    found = probe.find(to_table(probe.measure(subject, 0)))

    (one,) = [each for each in found if each.name == "task_not_reproducible"]
    assert (one.level, one.state) == ("warning", "fault")
