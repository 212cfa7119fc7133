"""Where did it begin? The task, inner step, layer and operation of a meta-gradient gone wrong."""

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

GREW = 100.0  # an operation whose result is so many times what it was in health has exploded


class Cause(NamedTuple):
    """Where a meta-gradient stopped being usable."""

    task: int  # its place in the batch
    norm: float  # |g| of that task; not finite if it diverged
    tasks: int  # tasks of the batch whose meta-gradient isn't finite
    began: Operation | None  # None where no operation stands out


def find_cause(
    problem: Problem, algorithm: Estimator, theta: Tensor, tasks: Task, healthy: Tensor
) -> Cause:
    """Find the worst task of a batch, and in it the first operation that went wrong.

    That is the first whose result isn't finite, or, where all are, the first whose largest entry is
    a hundred times what it is on the same task at `healthy`, a theta from before.
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
    """Put a cause into the table: `at` is the inner step, `of` phase and operation."""
    number = float(cause.task if address is None else address)
    if cause.began is None:
        return Row("began", value=number, status="unresolved")
    began = cause.began
    at = float(began.step) if began.step >= 0 else None
    size = "ok" if math.isfinite(began.largest) else "diverged"
    of = f"{began.phase}: {began.name}"
    return Row("began", at=at, of=of, layer=began.layer, value=number, status=size)


def cause_sentence(began: Row) -> str:
    """Say what such a row holds."""
    if began.status == "unresolved":
        return f"It is task {began.value:.0f}; no single operation stands out."
    phase, _, name = began.of.partition(": ")
    step = f" of inner step {began.at:.0f}" if began.at is not None else ""
    layer = f", at layer {began.layer}" if began.layer else ""
    what = "is not finite" if began.status == "diverged" else f"grew more than {GREW:.0f}-fold"
    return (
        f"It began in task {began.value:.0f}, in the {phase}{step}{layer}: the result of "
        f"{name} {what}."
    )


def _first(now: list[Operation], before: list[Operation]) -> Operation | None:
    """Compare what ran with the same operations in health."""
    alike = [_place(op) for op in now] == [_place(op) for op in before]
    health = [op.largest for op in before] if alike else [1.0] * len(now)
    beside = list(zip(now, health, strict=True))
    sick = [(op, usual) for op, usual in beside if not math.isfinite(op.largest)]
    fell_ill = [op for op, usual in sick if math.isfinite(usual)]
    always = [op for op, _ in sick]  # the task itself is to blame
    grown = [op for op, usual in beside if usual > 0 and op.largest > GREW * usual]
    return next(iter([*fell_ill, *always, *grown]), None)


def _place(op: Operation) -> tuple[str, str, int]:
    return op.name, op.phase, op.step


def _one(tasks: Task, i: int) -> Task:
    task: Task = tree_map(lambda leaf: leaf[i], tasks)
    return task


def failure_kind(norm: float, usual: float, explode: float) -> str:
    """Say what is wrong with a meta-gradient of this norm: diverged, exploded, or nothing."""
    if not math.isfinite(norm):
        return "diverged"
    return "exploded" if norm > explode * usual else ""


def is_finite(theta: Tensor) -> bool:
    """Whether every number of theta is finite."""
    return bool(torch.isfinite(theta).all())
