"""Does it matter how many tasks are computed together?"""

from __future__ import annotations

import cases
import oracles
import pytest
import torch

from metabench.algorithms.inner_optimizers.sgd import SGD
from metabench.algorithms.maml import MAML
from metabench.estimation.vectorization import Vectorization, in_halves
from metabench.problems.tasks import Task
from metabench.settings.errors import InvalidInput


@pytest.mark.parametrize("kind", ["plain", "batch norm", "layer norm"])
@pytest.mark.parametrize(
    "compute",
    [Vectorization("vmap", 4), Vectorization("vmap", 100), Vectorization("loop", 3)],
    ids=str,
)
def test_every_batching_equals_one_task_at_a_time(kind, compute):
    problem, many = cases.problem(kind), cases.tasks(10)
    theta, maml = cases.theta(problem), MAML(steps=3, inner_optimizer=SGD(rate=0.1))

    found = compute.per_task(lambda at, task: maml(problem, at, task))(theta, many)

    for i in range(10):
        alone = oracles.unrolled(maml, problem, theta, cases.one(many, i))
        assert oracles.relative(found.grad[i], alone) < 1e-12
    assert found.loss.shape == (10,)
    assert found.notes["norms"].shape == (10, 4)


def test_mini_batch_indices_are_split_among_tasks():
    problem, many = cases.problem(), cases.tasks(5)
    noise = torch.randint(7, (5, 2, 3), generator=torch.Generator().manual_seed(0))
    many, theta, maml = many._replace(noise=noise), cases.theta(problem), MAML(steps=2)

    found = Vectorization(chunk=2).per_task(lambda at, task: maml(problem, at, task).grad)(
        theta, many
    )

    for i in range(5):
        alone = maml(problem, theta, cases.one(many, i)).grad
        assert oracles.relative(found[i], alone) < 1e-12


@pytest.mark.parametrize(
    ("settings", "words"), [({"batching": "map"}, "vmap, loop"), ({"chunk": 0}, "1 task")]
)
def test_an_invalid_vectorization_is_rejected(settings, words):
    with pytest.raises(InvalidInput, match=words):
        Vectorization(**settings)


def test_tasks_that_do_not_fit_together_are_computed_in_halves_and_it_is_said():
    """At most three tasks fit; one that doesn't fit alone is an error."""
    sizes = []

    def squares(theta, task):
        return theta * task.query[0].sum()

    def apply(theta, tasks):
        sizes.append(len(tasks.query[0]))
        if len(tasks.query[0]) > most:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return torch.vmap(squares, in_dims=(None, 0))(theta, tasks)

    most, theta = 3, torch.ones(2)
    x = torch.arange(16.0).view(8, 2)
    tasks = Task(support=(x,), query=(x,))

    with pytest.warns(RuntimeWarning, match="[84] tasks did not fit into memory together"):
        found = in_halves(apply)(theta, tasks)

    assert sizes == [8, 4, 2, 2, 4, 2, 2]
    assert torch.equal(found, x.sum(1, keepdim=True).expand(8, 2))
    most = 0
    with pytest.warns(RuntimeWarning, match="did not fit"), pytest.raises(torch.OutOfMemoryError):
        in_halves(apply)(theta, tasks)
