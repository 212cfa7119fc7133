"""The checks repeated over fewer inner steps, where round-off leaves them undecided over all."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import torch

from metabench.algorithms.base import Algorithm, MetaGrad
from metabench.estimation.vectorization import Vectorization
from metabench.probes.verify.limits import DIFFERENCES, UNROLL, VMAP
from metabench.probes.verify.measure_differences import differences, directions
from metabench.problems.tasks import Task
from metabench.records.rows import Row

if TYPE_CHECKING:
    from collections.abc import Sequence

    from metabench.estimation.estimator_on_tasks import Subject

AMPLIFIED = (DIFFERENCES, UNROLL, VMAP)  # checks that an inner loop's round-off leaves undecided


def shorter(
    subject: Subject, tasks: Task, count: int, unit: float, rows: Sequence[Row | None]
) -> list[Row]:
    """Return the check by differences at the largest K, halved and halved again, that decides.

    Args:
        subject: at a theta in float64.
        tasks: with a leading axis.
        count: of directions.
        unit: relative round-off of the lowest precision inside.
        rows: of the checks over all inner steps.

    Returns:
        No row where these decide, where the estimator has no inner loop to shorten, or where
        theta's length depends on the number of steps.
    """
    algorithm = subject.algorithm
    open_ = any(row and row.of in AMPLIFIED and row.status == "unresolved" for row in rows)
    whole = subject.problem.base is None
    if not (open_ and whole and isinstance(algorithm, Algorithm) and algorithm.exact):
        return []
    steps = algorithm.steps // 2
    while steps:
        found = _row(subject, replace(algorithm, steps=steps), tasks, count, unit)
        if found.status in ("ok", "wrong"):
            return [found._replace(quantity="shorter_check", at=float(steps))]
        steps //= 2
    return []


def _row(subject: Subject, algorithm: Algorithm, tasks: Task, count: int, unit: float) -> Row:
    """Return the check by differences of an algorithm with fewer steps."""
    per_task = Vectorization("loop").per_task
    found: MetaGrad = per_task(lambda theta, task: algorithm(subject.problem, theta, task))(
        subject.theta, tasks
    )
    if not (torch.isfinite(found.grad).all() and found.grad.any()):
        return Row("check", of=DIFFERENCES, status="diverged")
    loss = per_task(lambda theta, task: algorithm.differentiated(subject.problem, theta, task))
    size = found.grad.norm(dim=1) / len(subject.theta) ** 0.5
    size = torch.where(size > 0, size, 1)
    along = directions(len(subject.theta), count, subject.theta)
    return differences(
        lambda at: loss(at, tasks), subject.theta, found.grad, size, along, unit
    ).row()
