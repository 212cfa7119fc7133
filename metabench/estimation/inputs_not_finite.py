"""Which numbers of theta and of the tasks are not finite, before anything is computed from them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch.utils._pytree import tree_leaves

from metabench.problems.tasks import Address, Data, Task
from metabench.records.rows import Row, row
from metabench.stats.proportions import share_interval

if TYPE_CHECKING:
    from metabench.estimation.estimator_on_tasks import Subject

TASKS_AT_ONCE = 256  # drawn together to be looked at [tasks]


def inputs_not_finite(subject: Subject, address: Address, seed: int) -> list[Row]:
    """Return rows `not_finite`: layers of theta, sets of tasks, and the share of such tasks.

    Args:
        subject: whose theta and sampler are looked at.
        address: of the tasks.
        seed: of the tasks.

    Returns:
        No row where every number is finite.
    """
    rows = [
        Row("not_finite", of=f"theta: {name}", status="diverged")
        for name, part in subject.problem.layouts.theta.segments()
        if not torch.isfinite(subject.theta[part]).all()
    ]
    count, hits = len(address.task), set()
    for start in range(0, count, TASKS_AT_ONCE):
        tasks = subject.draw(address.part(start, start + TASKS_AT_ONCE), seed)
        for i, name in sets_not_finite(tasks):
            hits.add(start + i)
            number = float(address.task[start + i])
            rows.append(Row("not_finite", at=number, of=name, status="diverged"))
    if hits:
        share = share_interval(len(hits), count)
        rows.append(row("not_finite", share, "diverged", of="share of tasks"))
    return rows


def sets_not_finite(tasks: Task) -> list[tuple[int, str]]:
    """Return the place of each task with a number that isn't finite, and the part: "support x"."""
    found = []
    for name, data in (("support", tasks.support), ("query", tasks.query)):
        pair = isinstance(data, tuple | list) and len(data) == 2
        parts = zip((f"{name} x", f"{name} y"), data, strict=True) if pair else ((name, data),)
        found += [(i, part) for part, held in parts for i in _not_finite(held)]
    return found


def _not_finite(data: Data) -> list[int]:
    """Return the tasks that have a number which is not finite in one of their tensors."""
    leaves = [x for x in tree_leaves(data) if x.is_floating_point() or x.is_complex()]
    bad = [~torch.isfinite(leaf.reshape(len(leaf), -1)).all(1) for leaf in leaves]
    return torch.stack(bad).any(0).nonzero()[:, 0].tolist() if bad else []
