"""Which inner rates are stable: predicted by curvature, counted on held-out tasks."""

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
from metabench.probes.explosion.paths import HELD, chunks, eagerly, loop_of, numpy, some
from metabench.problems.tasks import Address, Task, tree_map
from metabench.records.rows import Row
from metabench.stats.intervals import Vector

if TYPE_CHECKING:
    from torch import Tensor

    from metabench.estimation.estimator_on_tasks import Subject
    from metabench.probes.explosion import Explosion


def rates(
    probe: Explosion,
    subject: Subject,
    phis: Tensor,
    seed: int,
    advance: Callable[[int], None],
) -> list[Row]:
    """Give the stable rates by curvature, count them on held-out tasks, and tell the cause."""
    step = loop_of(subject).inner_optimizer
    edge = step.edge()
    learned = loop_of(subject).rates is not None
    # the edge of a step that scales the gradient is one of the Hessian so scaled, not of the loss's
    scaled = step.preconditioner(step.start(phis[0, 0]), 1) is not None
    if edge is None or scaled or step.rate == 0 or learned:
        return [Row("stable_rate", status="withheld")]
    try:
        smallest, largest = _ends(probe, subject, phis, seed)
    except RuntimeError:  # a model that only runs task by task
        return [Row("stable_rate", status="withheld")]
    rows = stable.thresholds(largest[:, 0], edge, step.rate)
    if step.plain:
        for i, K in enumerate(probe.plan):
            rows += stable.causes(K, smallest[:, i], largest[:, i], step.rate)
    if probe.steps < stable.FEWEST:
        return rows
    held_out = Address.fresh(probe.tasks, probe.tasks)
    for rate in stable.tried(largest[:, 0], edge, step.rate):
        run = _descend(subject, replace(step, rate=rate), probe.steps)
        found = [
            [numpy(each) for each in run(subject.theta, tasks)]
            for tasks in chunks(probe, subject, held_out, seed)
        ]
        first, last, outer = map(np.concatenate, zip(*found, strict=True))
        rows += stable.counted(rate, first, last, outer)
        advance(probe.tasks)
    return rows


def _descend(
    subject: Subject, step: InnerOptimizer, steps: int
) -> Callable[[Tensor, Task], LossDecrease]:
    problem = loop_of(subject).problem
    return eagerly(subject).per_task(
        lambda theta, task: stability.loss_decrease(step, steps, problem, theta, task)
    )


def _ends(probe: Explosion, subject: Subject, phis: Tensor, seed: int) -> tuple[Vector, Vector]:
    """Find the ends of every inner Hessian: of all tasks at phi_0, of a quarter at each phi_K."""
    problem = loop_of(subject).problem
    P = phis.shape[2]
    size = max(HELD // (P * stability.MOST_PRODUCTS * phis.element_size()), 1)
    found = np.full((2, len(phis), len(probe.plan)), math.nan)
    for start in range(0, len(phis), size):
        tasks = subject.draw(Address.fresh(start, len(phis[start : start + size])), seed)
        for i in range(len(probe.plan)):
            stop = start + size if i == 0 else min(start + size, some(probe))
            part = phis[start:stop, i]
            if len(part):
                both = stability.extreme_eigenvalues(
                    problem, subject.theta, part, _first(tasks, len(part))
                )
                found[:, start : start + len(part), i] = [numpy(each) for each in both]
    return found[0], found[1]


def _first(tasks: Task, count: int) -> Task:
    part: Task = tree_map(lambda leaf: leaf[:count], tasks)
    return part
