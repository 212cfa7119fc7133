"""Facts about the tasks themselves that make any meta-gradient of them mean something else."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves

from metabench.algorithms.black_box import BlackBox
from metabench.estimation.vectorization import Vectorization
from metabench.problems.samplers import Stream, as_task
from metabench.problems.tasks import Address, Data, Task, tree_map
from metabench.records.rows import Row
from metabench.stats.mean_intervals import mean_interval

if TYPE_CHECKING:
    from metabench.estimation.estimator_on_tasks import Subject

TASKS_LOOKED_AT = 16  # by the facts on many tasks [tasks]


def facts_on_sets(subject: Subject, tasks: Task) -> list[Row]:
    """Return rows on support and query sets: equal, overlapping, or of other classes.

    Args:
        subject: whose problem says whether labels are classes.
        tasks: with a leading axis.
    """
    count = len(tree_leaves(tasks.support)[0])
    singles: list[Task] = [tree_map(lambda x, i=i: x[i], tasks) for i in range(count)]
    rows = []
    same = sum(_equal(task.support, task.query) for task in singles)
    if same:
        rows.append(Row("task_fact", of="support is query", value=same / count, status="info"))
    else:
        shared = [_share_within_support(task) for task in singles]
        if any(shared):
            share = sum(shared) / count
            rows.append(Row("task_fact", of="query in support", value=share, status="info"))
    if subject.problem.accuracy is not None:
        missing = sum(_lacks_a_class(task) for task in singles)
        if missing:
            share = missing / count
            rows.append(Row("task_fact", of="class missing", value=share, status="info"))
    return rows


def facts_on_redraws(subject: Subject, seed: int) -> list[Row]:
    """Return a row if a task is another one when it is drawn again.

    Args:
        subject: whose sampler is asked twice for the same task.
        seed: of the task.
    """
    if isinstance(subject.sample, Stream):
        return []
    try:
        first, again = (as_task(subject.sample(Address.fresh(0, 1), seed)) for _ in range(2))
    except Exception:  # the drawing itself reports what its sampler raises
        return []
    one, other = (tree_leaves((task.support, task.query)) for task in (first, again))
    same = len(one) == len(other) and all(
        torch.equal(a.nan_to_num(), b.nan_to_num()) for a, b in zip(one, other, strict=True)
    )
    return [] if same else [Row("task_fact", of="not reproducible", status="warning")]


def facts_on_many_tasks(subject: Subject, seed: int) -> list[Row]:
    """Return rows on tasks that are equal, a seed without effect, and adaptation that is of no use.

    Args:
        subject: whose sampler and estimator are looked at.
        seed: of the tasks.
    """
    if isinstance(subject.sample, Stream):  # reading ahead would use it up; it has no seed
        return []
    address = Address.fresh(0, TASKS_LOOKED_AT)
    try:
        tasks = subject.draw(address, seed)
        again = as_task(subject.sample(address.part(0, 2), seed + 1))
    except Exception:  # a sampler of fewer tasks
        return []
    first = as_task(subject.sample(address.part(0, 2), seed))
    rows = []
    if _equal((first.support, first.query), (again.support, again.query)):
        rows.append(Row("task_fact", of="seed has no effect", status="info"))
    if equal := _equal_tasks(tasks):
        rows.append(Row("task_fact", at=float(equal), of="equal tasks", status="info"))
    return [*rows, *_adaptation(subject, tasks)]


def _equal(one: Data, other: Data) -> bool:
    """Return whether two pytrees have the same tensors."""
    left, right = tree_leaves(one), tree_leaves(other)
    return len(left) == len(right) and all(
        a.shape == b.shape and bool((a == b).all()) for a, b in zip(left, right, strict=True)
    )


def _inputs(data: Data) -> Tensor | None:
    """Return the inputs as rows, `(examples, entries)`; None if they are not real numbers."""
    leaves = tree_leaves(data)
    if not leaves or not torch.is_floating_point(leaves[0]) or leaves[0].dim() == 0:
        return None
    rows: Tensor = leaves[0].reshape(len(leaves[0]), -1)
    return rows


def _share_within_support(task: Task) -> float:
    """Return the share of query inputs that are support inputs, where those are all distinct."""
    support, query = _inputs(task.support), _inputs(task.query)
    if support is None or query is None or support.shape[1:] != query.shape[1:]:
        return 0.0
    if len(torch.unique(support, dim=0)) < len(support):  # such as one matrix for all examples
        return 0.0
    found = (query[:, None] == support[None]).all(-1).any(1)
    return float(found.double().mean())


def _lacks_a_class(task: Task) -> bool:
    """Return whether a label of the query set is not in the support set."""
    support, query = tree_leaves(task.support)[-1], tree_leaves(task.query)[-1]
    if torch.is_floating_point(support) or torch.is_floating_point(query):
        return False
    return not bool(torch.isin(query, support).all())


def _equal_tasks(tasks: Task) -> int:
    """Return how many tasks equal an earlier one."""
    leaves = tree_leaves((tasks.support, tasks.query))
    flat = torch.cat([leaf.reshape(len(leaf), -1).double() for leaf in leaves], 1)
    if not torch.isfinite(flat).all():
        return 0
    return len(flat) - len(torch.unique(flat, dim=0))


def _adaptation(subject: Subject, tasks: Task) -> list[Row]:
    """Return the mean change of the query loss by adaptation, unless it is seen to fall."""
    algorithm, problem = subject.algorithm, subject.problem
    if isinstance(algorithm, BlackBox) and algorithm.batched:
        return []

    def change(theta: Tensor, task: Task) -> Tensor:
        before = problem.outer_loss(problem.init(theta), theta, task.query)
        return algorithm.objective(problem, theta, task).detach() - before

    changes = Vectorization("loop").per_task(change)(subject.theta, tasks).double()
    if not torch.isfinite(changes).all() or not changes.any():
        return []
    found = mean_interval(changes.cpu().numpy())
    if found.high < 0:
        return []
    return [Row("task_fact", of="adaptation", value=found.value, low=found.low, high=found.high,
                status="info")]  # fmt: skip
