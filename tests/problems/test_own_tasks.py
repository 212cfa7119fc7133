"""Do the samplers of docs/own_tasks.md give the tasks that their sources hold?"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import oracles
import pytest
import torch
from PIL import Image
from torch import nn
from torch.nn.functional import cross_entropy, mse_loss, pad

import metabench as mb
from metabench.problems.tasks import Address

PAGE = (Path(__file__).parents[2] / "docs" / "own_tasks.md").read_text("utf-8")
WAYS, SHOTS, QUERIES = 2, 1, 3


def example(title, net, **given):
    """Run the code below a title of the page, and return its problem."""
    (code,) = re.findall(rf"## {title}.*?```python\n(.*?)```", PAGE, re.DOTALL)[:1]
    names = {"torch": torch, "mb": mb, "net": net, "cross_entropy": cross_entropy, "pad": pad}
    names |= {"WAYS": WAYS, "SHOTS": SHOTS, "QUERIES": QUERIES, **given}
    exec(compile(code, f"{title} of own_tasks.md", "exec"), names)
    return names["problem"]


def measured(problem):
    """Two tasks as they are drawn, and their meta-gradients by plain autograd and by maml."""
    maml = mb.MAML(1, mb.SGD(0.1))
    subject = mb.Subject(problem, problem.tasks, maml, problem.theta.double())
    tasks = subject.draw(Address.fresh(0, 2), 0)
    each = [
        mb.Task(*torch.utils._pytree.tree_map(lambda leaf, i=i: leaf[i], tasks[:2])) for i in (0, 1)
    ]
    expected = [oracles.unrolled(maml, problem, subject.theta, task) for task in each]
    found = subject.meta_gradients(Address.fresh(0, 2), 0).grad
    assert max(map(oracles.relative, found, expected)) < 1e-12
    return each


def labelled(count, seed):
    numbers = torch.Generator().manual_seed(seed)
    return torch.randn(count * WAYS, 3, generator=numbers), torch.arange(WAYS).repeat(count)


def test_a_loader_of_pairs():
    items = [(labelled(SHOTS, i), labelled(QUERIES, 9 + i)) for i in range(4)]
    loader = torch.utils.data.DataLoader(items, batch_size=2)

    first, second = measured(example("A DataLoader", nn.Linear(3, WAYS), loader=loader))

    assert torch.equal(first.support[0].float(), items[0][0][0])
    assert torch.equal(second.query[0].float(), items[1][1][0])


def test_torchmetas_batches():
    tasks = [(labelled(SHOTS, i), labelled(QUERIES, 9 + i)) for i in range(4)]
    loader = torch.utils.data.DataLoader(
        [{"train": support, "test": query} for support, query in tasks], batch_size=4
    )

    _, second = measured(example("torchmeta", nn.Linear(3, WAYS), loader=loader))

    assert torch.equal(second.support[0].float(), tasks[1][0][0])
    assert torch.equal(second.query[1], tasks[1][1][1])


def test_learn2learns_sets_are_split_by_shots():
    taskset = [labelled(SHOTS + QUERIES, i) for i in range(3)]

    first, _ = measured(example("learn2learn", nn.Linear(3, WAYS), taskset=taskset))

    assert first.support[1].tolist() == [0, 1]
    assert first.query[1].bincount().tolist() == [QUERIES, QUERIES]
    joined = torch.cat([first.support[0], first.query[0]]).float()
    assert torch.equal(joined, taskset[0][0])


COLUMNS = {
    "x": [[float(10 * label + i), 1.0, 0.0] for i in range(6) for label in range(5)],
    "label": [label for _ in range(6) for label in range(5)],
}


def of_hugging_face():
    return pytest.importorskip("datasets").Dataset.from_dict(COLUMNS)


@pytest.mark.parametrize("source", [lambda: COLUMNS, of_hugging_face])
def test_columns_become_classes_and_classes_tasks(source):
    problem = example("Hugging Face datasets", nn.Linear(3, WAYS), dataset=source())

    for task in measured(problem):
        names = [  # the tens of x are its class
            dict(zip(y.tolist(), (x[:, 0] // 10).tolist(), strict=True)) for x, y in task[:2]
        ]
        assert names[0] == names[1]
        assert len(set(names[0].values())) == WAYS
        assert task.query[1].bincount().tolist() == [QUERIES, QUERIES]
        seen = torch.cat([task.support[0], task.query[0]])[:, 0].tolist()
        assert len(set(seen)) == WAYS * (SHOTS + QUERIES)


def test_folders_of_images(tmp_path, monkeypatch):
    numbers = np.random.default_rng(0)
    for name in "abcdef":
        (tmp_path / "images" / name).mkdir(parents=True)
        for i in range(2 * QUERIES):
            pixels = numbers.integers(0, 256, (16, 16), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / "images" / name / f"{i}.png")
    monkeypatch.chdir(tmp_path)

    net = nn.Sequential(nn.Flatten(), nn.Linear(256, WAYS))
    first, _ = measured(example("Folders of images", net))

    assert first.support[0].shape == (WAYS * SHOTS, 1, 16, 16)
    assert first.query[1].bincount().tolist() == [QUERIES, QUERIES]


def test_a_padded_and_masked_task_has_the_gradient_of_the_ragged_one():
    sizes = [(3, 8), (5, 2)]
    ragged = [tuple((torch.randn(n, 2), torch.randn(n, 1)) for n in of_sets) for of_sets in sizes]
    net = nn.Sequential(nn.Linear(2, 3), nn.Tanh(), nn.Linear(3, 1))
    problem = example("Tasks of different sizes", net, ragged=ragged)
    measured(problem)

    plain = mb.Problem.from_module(net, mse_loss)
    maml, theta = mb.MAML(2, mb.SGD(0.1)), plain.theta.double()
    subject = mb.Subject(problem, problem.tasks, maml, theta)
    padded = subject.meta_gradients(Address.fresh(0, 2), 0).grad
    for grad, (support, query) in zip(padded, ragged, strict=True):
        task = mb.Task(*(tuple(leaf.double() for leaf in part) for part in (support, query)))
        assert oracles.relative(grad, oracles.unrolled(maml, plain, theta, task)) < 1e-12


def test_tasks_of_different_sizes_are_named_with_the_way_round():
    ragged = [(labelled(1, 0), labelled(3, 0)), (labelled(2, 0), labelled(3, 0))]

    with pytest.raises(mb.InvalidInput, match=r"Tasks differ in shape.*Pad.*mask"):
        mb.Stream(ragged)(Address.fresh(0, 2), 0)


ROWS = [[[1.0, 2.0], [0.0, 1.0]], [[3.0, 1.0], [1.0, 1.0]]]  # of two tasks
Y = torch.ones(2, 2, 1)


@pytest.mark.parametrize("kind", [list, np.array, torch.tensor, torch.nn.Parameter])
def test_lists_arrays_and_tensors_with_a_graph_are_the_same_tasks(kind):
    x = torch.nn.Parameter(torch.tensor(ROWS)) if kind is torch.nn.Parameter else kind(ROWS)
    problem = mb.Problem.from_module(nn.Linear(2, 1), mse_loss)
    maml, theta = mb.MAML(1, mb.SGD(0.1)), problem.theta
    plain, given = (
        mb.Subject(problem, mb.Indexed(lambda i, seed, x=x: ((x, Y), (x, Y))), maml, theta)
        for x in (torch.tensor(ROWS), x)
    )

    one, other = (of.meta_gradients(Address.fresh(0, 2), 0).grad for of in (plain, given))

    assert torch.equal(one, other)


ODD = {
    "words": (["a", "b"], r"support set .* type str .*words as ids"),
    "nothing": (None, r"support set .* type NoneType .*zeros for a y"),
    "ragged rows": ([[[1.0]], [[1.0, 2.0]]], r"support set .* type list .*one shape"),
    "a sparse tensor": (torch.eye(2).to_sparse(), r"support set .* sparse .*\.to_dense\(\)"),
    "one tensor a task": ([torch.ones(2, 2)] * 3, r"first axis .*torch\.stack"),
}


@pytest.mark.parametrize(("x", "words"), ODD.values(), ids=ODD)
def test_what_cannot_be_a_task_is_refused_with_the_way_round(x, words):
    sample = mb.Indexed(lambda indices, seed: ((x, Y[:1]), (Y[:1], Y[:1])))
    problem = mb.Problem.from_module(nn.Linear(2, 1), mse_loss)
    subject = mb.Subject(problem, sample, mb.MAML(1, mb.SGD(0.1)), problem.theta)

    with pytest.raises(mb.InvalidInput, match=words):
        subject.meta_gradients(Address.fresh(0, 1), 0)


def test_integers_where_weights_are_floating_point_are_named():
    x = torch.ones(1, 4, 2, dtype=torch.long)
    problem = mb.Problem.from_module(nn.Linear(2, 1), mse_loss)
    sample = mb.Indexed(lambda indices, seed: ((x, x[..., :1]), (x, x[..., :1])))
    subject = mb.Subject(problem, sample, mb.MAML(1, mb.SGD(0.1)), problem.theta)

    with pytest.raises(mb.InvalidInput, match=r"An integer tensor \(Long\).*x\.float\(\)"):
        subject.meta_gradients(Address.fresh(0, 1), 0)


ITEM = ((torch.ones(4, 2), torch.ones(4, 1)), (torch.ones(5, 2), torch.ones(5, 1)))
STREAMS = {
    "a function": (lambda: mb.Stream(len), r"of type builtin.*mb\.Indexed\(sample\)"),
    "too short": (lambda: mb.Stream([ITEM]), r"ended after 1 task, but 2 are needed"),
    "one task as a batch": (lambda: mb.Stream([ITEM], batched=True), r"4, 4, 5, 5.*batched=False"),
    "dictionaries": (
        lambda: mb.Stream([{"support": ITEM[0], "query": ITEM[1]}]),
        r'given a dict\. Take them out: task\["support"\]',
    ),
}


@pytest.mark.parametrize(("make", "words"), STREAMS.values(), ids=STREAMS)
def test_a_stream_that_gives_no_tasks_is_refused_with_the_repair(make, words):
    with pytest.raises(mb.InvalidInput, match=words):
        make()(Address.fresh(0, 2), 0)


def test_a_stream_of_one_task_is_enough_for_one():
    problem = mb.Problem.from_module(nn.Linear(2, 1), mse_loss, tasks=mb.Stream([ITEM]))
    subject = mb.Subject(problem, problem.tasks, mb.MAML(1), problem.theta)

    rows = mb.measure_checked(mb.Verify(tasks=1, thorough=False), subject)

    assert all(row.status == "ok" for row in rows if row.quantity == "check")
