"""Which parts of a task can be drawn again, each without the others? Seen by drawing a few."""

from __future__ import annotations

from typing import Any

import numpy as np

from metabench.algorithms.base import Algorithm
from metabench.estimation.estimator_on_tasks import Subject
from metabench.problems.samplers import as_task
from metabench.problems.tasks import Address, tree_map

LOOKED_AT = 4  # tasks that are drawn again to see what a redraw changes


def redraws(subject: Subject, seed: int) -> dict[str, str]:
    """Say how each redraw goes.

    `ok`; `zero`, it never varies; `not_redrawable`, it is fixed to its task; or
    `redraw_not_independent`, something else changes with it.
    """
    address = Address.fresh(0, LOOKED_AT)
    first = as_task(subject.sample(address, seed))

    def moved(axis: str) -> tuple[bool, bool]:
        redrawn = address._replace(**{axis: np.ones(LOOKED_AT, np.int64)})
        again = as_task(subject.sample(redrawn, seed))
        return not _equal(first.support, again.support), not _equal(first.query, again.query)

    def state(data: Any, own: bool, other: bool) -> str:
        if own:
            return "redraw_not_independent" if other else "ok"
        varies = not _equal(data, tree_map(lambda leaf: leaf.roll(1, 0), data))
        return "not_redrawable" if varies else "zero"

    algorithm = subject.algorithm
    learns = not isinstance(algorithm, Algorithm) or algorithm.steps > 0
    batched = isinstance(algorithm, Algorithm) and algorithm.batch > 0
    return {
        "support": state(first.support, *moved("support")) if learns else "zero",
        "query": state(first.query, *reversed(moved("query"))),
        "inner": "ok" if learns and batched else "zero",
        "label": "ok" if any(moved("label")) else "zero",
    }


def _equal(one: Any, other: Any) -> bool:
    same: list[bool] = []
    tree_map(lambda a, b: same.append(bool(a.equal(b))), one, other)
    return all(same)
