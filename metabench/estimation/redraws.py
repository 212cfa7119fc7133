"""Which parts of a task can be redrawn independently, found by redrawing a few tasks."""

from __future__ import annotations

from typing import Any

import numpy as np

from metabench.algorithms.base import Algorithm
from metabench.estimation.estimator_on_tasks import Subject
from metabench.problems.samplers import as_task
from metabench.problems.tasks import Address, tree_map

TASKS_COMPARED = 4  # tasks redrawn to see what a redraw changes


def redraws(subject: Subject, seed: int) -> dict[str, str]:
    """Return the status of redrawing support set, query set, mini-batches and labels.

    `ok`; `zero`: it never varies; `not_redrawable`: each task has one fixed set;
    `redraw_not_independent`: redrawing it changes another part, too.
    """
    address = Address.fresh(0, TASKS_COMPARED)
    first = as_task(subject.sample(address, seed))

    def changes(axis: str) -> tuple[bool, bool]:
        redrawn_address = address._replace(**{axis: np.ones(TASKS_COMPARED, np.int64)})
        redrawn = as_task(subject.sample(redrawn_address, seed))
        return not _equal(first.support, redrawn.support), not _equal(first.query, redrawn.query)

    def status(data: Any, changed: bool, other_changed: bool) -> str:
        if changed:
            return "redraw_not_independent" if other_changed else "ok"
        varies = not _equal(data, tree_map(lambda leaf: leaf.roll(1, 0), data))
        return "not_redrawable" if varies else "zero"

    algorithm = subject.algorithm
    learns = not isinstance(algorithm, Algorithm) or algorithm.steps > 0
    batched = isinstance(algorithm, Algorithm) and algorithm.batch > 0
    return {
        "support": status(first.support, *changes("support")) if learns else "zero",
        "query": status(first.query, *reversed(changes("query"))),
        "inner": "ok" if learns and batched else "zero",
        "label": "ok" if any(changes("label")) else "zero",
    }


def _equal(one: Any, other: Any) -> bool:
    same: list[bool] = []
    tree_map(lambda a, b: same.append(bool(a.equal(b))), one, other)
    return all(same)
