"""From one task to T: the only place that knows there are many."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.func import vmap

from metabench.misuse import Misuse
from metabench.problem import Task, tree_map

HOWS = ("vmap", "loop")


@dataclass(frozen=True)
class Lift:
    """How many tasks are computed together, and by what.

    Every derivative is taken inside the vmap: derivatives of a vmapped function are silently wrong
    through torch's fused batch and layer norms (https://github.com/pytorch/functorch/issues/534).
    """

    how: str = "vmap"  # vmap: all tasks of a chunk at once; loop: one after another
    chunk: int = 256  # most tasks computed together, which bounds the memory [tasks]

    def __post_init__(self) -> None:
        """Refuse an unknown lift and an empty chunk."""
        if self.how not in HOWS:
            raise Misuse(f"lift.how is {self.how!r}; it must be one of {', '.join(HOWS)}.")
        if self.chunk < 1:
            raise Misuse(f"lift.chunk is {self.chunk}; it must be at least 1 task.")

    def per_task(self, function: Callable[[Tensor, Task], Any]) -> Callable[[Tensor, Task], Any]:
        """Turn `(theta, task) -> pytree` into `(theta, T tasks) -> pytree` with a leading T."""
        apply = vmap(function, in_dims=(None, 0)) if self.how == "vmap" else _looped(function)

        def many(theta: Tensor, tasks: Task) -> Any:
            count = count_tasks(tasks)
            parts = [
                apply(theta, _rows(tasks, start, min(start + self.chunk, count)))
                for start in range(0, count, self.chunk)
            ]
            return parts[0] if len(parts) == 1 else _joined(torch.cat, parts)

        return many


def count_tasks(tasks: Task) -> int:
    """Read T off the leading axis of the query set."""
    counts: list[int] = []
    tree_map(lambda leaf: counts.append(len(leaf)), tasks.query)
    return counts[0]


def _rows(tasks: Task, start: int, stop: int) -> Task:
    part: Task = tree_map(lambda leaf: leaf[start:stop], tasks)
    return part


def _looped(function: Callable[[Tensor, Task], Any]) -> Callable[[Tensor, Task], Any]:
    def apply(theta: Tensor, tasks: Task) -> Any:
        each = [
            function(theta, tree_map(lambda leaf, i=i: leaf[i], tasks))
            for i in range(count_tasks(tasks))
        ]
        return _joined(torch.stack, each)

    return apply


def _joined(join: Callable[[list[Tensor]], Tensor], parts: list[Any]) -> Any:
    return tree_map(lambda *leaves: join(list(leaves)), *parts)
