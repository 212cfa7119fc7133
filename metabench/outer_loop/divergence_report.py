"""Task, inner step, layer and operation where an unusable meta-gradient began."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from metabench.algorithms.base import Estimator
from metabench.estimation.vectorization import count_tasks
from metabench.outer_loop.operation_log import Operation, operations
from metabench.problems.problem import Problem
from metabench.problems.tasks import Task, tree_map
from metabench.records.rows import Row

EXPLODED_RESULT_RATIO = (
    100.0  # largest entry of an operation's result over that at the healthy theta
)


class Cause(NamedTuple):
    """The operation at which a meta-gradient became unusable."""

    task: int  # index in the batch
    norm: float  # |g| of this task; not finite if it diverged
    tasks: int  # how many tasks of the batch have a meta-gradient that is not finite
    began: Operation | None  # the first that failed; None where none stands out


def find_cause(
    problem: Problem, algorithm: Estimator, theta: Tensor, tasks: Task, healthy: Tensor
) -> Cause:
    """Find the worst task of a batch, and in it the first operation that failed.

    It is the first whose result is not finite or, where all are, the first whose largest entry is
    a hundred times that of the same operation at `healthy`.

    Args:
        problem: of the tasks.
        algorithm: whose meta-gradient failed.
        theta: at which it failed, `(Q,)`.
        tasks: the batch, with a leading T.
        healthy: an earlier theta at which it did not fail, `(Q,)`.
    """
    norms = []
    for i in range(count_tasks(tasks)):
        norms.append(float(algorithm(problem, theta, _one(tasks, i)).grad.norm()))
    bad = [i for i, norm in enumerate(norms) if not math.isfinite(norm)]
    worst = bad[0] if bad else max(range(len(norms)), key=norms.__getitem__)
    task = _one(tasks, worst)
    now = operations(problem, algorithm, theta, task)
    before = operations(problem, algorithm, healthy, task)
    return Cause(worst, norms[worst], len(bad), _first(now, before))


def cause_row(cause: Cause, address: int | None) -> Row:
    """Return a cause as a row: `at` is the inner step, `of` phase and operation."""
    number = float(cause.task if address is None else address)
    if cause.began is None:
        return Row("began", value=number, status="unresolved")
    began = cause.began
    at = float(began.step) if began.step >= 0 else None
    size = "ok" if math.isfinite(began.largest) else "diverged"
    of = f"{began.phase}: {began.name}"
    return Row("began", at=at, of=of, layer=began.layer, value=number, status=size)


def cause_sentence(began: Row) -> str:
    """Return a sentence that states the row of a cause."""
    if began.status == "unresolved":
        return f"The cause is in task {began.value:.0f}; no single operation stands out."
    phase, _, name = began.of.partition(": ")
    step = f" of inner step {began.at:.0f}" if began.at is not None else ""
    layer = f", layer `{began.layer}`" if began.layer else ""
    grew = f"grew more than {EXPLODED_RESULT_RATIO:.0f}-fold"
    what = "is not finite" if began.status == "diverged" else grew
    return (
        f"The first failure is in task {began.value:.0f}, in the {phase}{step}{layer}: the result "
        f"of {name} {what}."
    )


def _first(now: list[Operation], before: list[Operation]) -> Operation | None:
    """Return the first operation that failed, compared with the run at the healthy theta."""
    alike = [_place(op) for op in now] == [_place(op) for op in before]
    healthy = [op.largest for op in before] if alike else [1.0] * len(now)
    pairs = list(zip(now, healthy, strict=True))
    not_finite = [(op, usual) for op, usual in pairs if not math.isfinite(op.largest)]
    newly = [op for op, usual in not_finite if math.isfinite(usual)]
    always = [op for op, _ in not_finite]  # not finite at the healthy theta either
    grown = [op for op, usual in pairs if usual > 0 and op.largest > EXPLODED_RESULT_RATIO * usual]
    return next(iter([*newly, *always, *grown]), None)


def _place(op: Operation) -> tuple[str, str, int]:
    return op.name, op.phase, op.step


def _one(tasks: Task, i: int) -> Task:
    task: Task = tree_map(lambda leaf: leaf[i], tasks)
    return task


def failure_kind(norm: float, usual: float, explode: float) -> str:
    """Return `diverged`, `exploded` or "" for a meta-gradient of this norm.

    Args:
        norm: |g|.
        usual: median |g| of recent steps; infinite while there are too few.
        explode: largest ratio of both that is usable.
    """
    if not math.isfinite(norm):
        return "diverged"
    return "exploded" if norm > explode * usual else ""


def is_finite(theta: Tensor) -> bool:
    """Return whether every entry of theta is finite."""
    return bool(torch.isfinite(theta).all())
