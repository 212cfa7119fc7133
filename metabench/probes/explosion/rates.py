"""Stable inner rates, predicted by curvature and counted on other tasks."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from metabench.algorithms import stability
from metabench.algorithms.inner_optimizers.inner_optimizer import InnerOptimizer
from metabench.algorithms.stability import LossDecrease
from metabench.probes.explosion import stable
from metabench.probes.explosion.paths import (
    BYTES_AT_ONCE,
    eager_vectorization,
    inner_loop_of,
    subset_size,
    task_chunks,
    to_numpy,
)
from metabench.problems.tasks import Address, Task, tree_map
from metabench.records.rows import Row
from metabench.stats.intervals import Vector

if TYPE_CHECKING:
    from torch import Tensor

    from metabench.estimation.estimator_on_tasks import Subject
    from metabench.probes.explosion import Explosion


def rate_rows(
    probe: Explosion,
    subject: Subject,
    phis: Tensor,
    seed: int,
    advance: Callable[[int], None],
) -> list[Row]:
    """Return stable inner rates by curvature, counts on other tasks, and causes of stretching.

    Args:
        probe: its settings.
        subject: what is measured.
        phis: phi_K of each task at each K, `(T, n, P)`.
        seed: of the tasks.
        advance: called with the number of tasks done.
    """
    step = inner_loop_of(subject).inner_optimizer
    edge = step.stability_edge()
    learned = inner_loop_of(subject).rates is not None
    # for a preconditioned optimizer the edge refers to the preconditioned Hessian, not the loss's
    scaled = step.preconditioner(step.start(phis[0, 0]), 1) is not None
    if edge is None or scaled or step.rate == 0 or learned:
        return [Row("stable_rate", status="withheld")]
    try:
        smallest, largest = _extreme_eigenvalues(probe, subject, phis, seed)
    except RuntimeError:  # a model that cannot be vectorized over tasks
        return [Row("stable_rate", status="withheld")]
    rows = stable.stable_rate_rows(largest[:, 0], edge, step.rate)
    if step.plain:
        for i, K in enumerate(probe.plan):
            rows += stable.stretching_rows(K, smallest[:, i], largest[:, i], step.rate)
    if probe.steps < stable.FEWEST_STEPS:
        return rows
    held_out = Address.fresh(probe.tasks, probe.tasks)
    for rate in stable.rates_to_count(largest[:, 0], edge, step.rate):
        run = _loss_decrease(subject, replace(step, rate=rate), probe.steps)
        found = [
            [to_numpy(each) for each in run(subject.theta, tasks)]
            for tasks in task_chunks(probe, subject, held_out, seed)
        ]
        first, last, outer = map(np.concatenate, zip(*found, strict=True))
        rows += stable.counted_rows(rate, first, last, outer)
        advance(probe.tasks)
    return rows


def _loss_decrease(
    subject: Subject, step: InnerOptimizer, steps: int
) -> Callable[[Tensor, Task], LossDecrease]:
    problem = inner_loop_of(subject).problem
    return eager_vectorization(subject).per_task(
        lambda theta, task: stability.loss_decrease(step, steps, problem, theta, task)
    )


def _extreme_eigenvalues(
    probe: Explosion, subject: Subject, phis: Tensor, seed: int
) -> tuple[Vector, Vector]:
    """Return the smallest and largest eigenvalues of inner Hessians, `(T, n)` each.

    Of all tasks at the first K, of a quarter of them at the others; NaN elsewhere.
    """
    problem = inner_loop_of(subject).problem
    P = phis.shape[2]
    size = max(BYTES_AT_ONCE // (P * stability.MOST_PRODUCTS * phis.element_size()), 1)
    found = np.full((2, len(phis), len(probe.plan)), math.nan)
    for start in range(0, len(phis), size):
        tasks = subject.draw(Address.fresh(start, len(phis[start : start + size])), seed)
        for i in range(len(probe.plan)):
            stop = start + size if i == 0 else min(start + size, subset_size(probe))
            part = phis[start:stop, i]
            if len(part):
                both = stability.extreme_eigenvalues(
                    problem, subject.theta, part, _first_tasks(tasks, len(part))
                )
                found[:, start : start + len(part), i] = [to_numpy(each) for each in both]
    return found[0], found[1]


def _first_tasks(tasks: Task, count: int) -> Task:
    part: Task = tree_map(lambda leaf: leaf[:count], tasks)
    return part
