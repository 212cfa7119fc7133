"""From one task to T: the only place that knows there are many."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor
from torch.func import vmap

from metabench.autodiff.compilation import BREAK_EVEN_LOOP, ENGINES, accelerate
from metabench.autodiff.operation_counts import MOST_BYTES_AT_ONCE, Work, work_of
from metabench.problems.tasks import Task, tree_map
from metabench.settings.errors import InvalidInput

BATCHINGS = ("auto", "vmap", "loop")

# A task whose results outgrow a core's caches gains nothing from being batched with others on a
# CPU, and 256 of them would take gigabytes: beyond this, one after another.
LOOP_FROM = 2**24  # results of one task that live at once [bytes]
LEAST_CHUNK = 32  # below this, calls cost more than their arithmetic [tasks]


@dataclass(frozen=True)
class Vectorization:
    """How many tasks are computed together, and by what.

    Every derivative is taken inside the vmap: derivatives of a vmapped function are silently wrong
    through torch's fused batch and layer norms (https://github.com/pytorch/functorch/issues/534).
    """

    batching: str = "auto"  # vmap: a chunk's tasks at once; loop: one by one; auto: by counted work
    chunk: int = 512  # most tasks computed together, which bounds the memory [tasks]
    engine: str = "auto"  # eager, trace, compile; auto: by how often a shape has been applied

    def __post_init__(self) -> None:
        """Refuse an unknown batching or engine and an empty chunk."""
        for name, given, words in (
            ("batching", self.batching, BATCHINGS),
            ("engine", self.engine, ENGINES),
        ):
            if given not in words:
                raise InvalidInput(
                    f"compute.{name} is {given!r}; it must be one of {', '.join(words)}."
                )
        if self.chunk < 1:
            raise InvalidInput(f"compute.chunk is {self.chunk}; it must be at least 1 task.")

    def resolved(self, work: Work, device: torch.device) -> Vectorization:
        """Choose between vmap and loop, if that is left to `auto`, by the work of one task.

        The chunk is halved until the results of its tasks have room.
        """
        large = device.type == "cpu" and work.bytes > LOOP_FROM
        chosen = ("loop" if large else "vmap") if self.batching == "auto" else self.batching
        chunk = self.chunk
        while chunk > LEAST_CHUNK and work.bytes * chunk > MOST_BYTES_AT_ONCE:
            chunk //= 2
        return replace(self, batching=chosen, chunk=chunk)

    @property
    def together(self) -> int:
        """Tasks whose intermediate results live at the same time."""
        return 1 if self.batching == "loop" else self.chunk

    def per_task(self, function: Callable[[Tensor, Task], Any]) -> Callable[[Tensor, Task], Any]:
        """Turn `(theta, task) -> pytree` into `(theta, T tasks) -> pytree` with a leading T.

        The result remembers, for each shape, what it has traced or compiled: call it many times.
        """
        if self.batching == "auto":
            return self._later(function)
        if self.batching == "loop":
            apply = _looped(accelerate(function, self.engine, BREAK_EVEN_LOOP))
        else:
            apply = accelerate(vmap(function, in_dims=(None, 0)), self.engine)

        def many(theta: Tensor, tasks: Task) -> Any:
            count = count_tasks(tasks)
            if count <= self.chunk:
                return apply(theta, tasks)
            if self.engine in (
                "trace",
                "compile",
            ):  # so that the last chunk has no shape of its own
                tasks = _padded(tasks, -count % self.chunk)
            parts = [
                apply(theta, _rows(tasks, start, start + self.chunk))
                for start in range(0, count, self.chunk)
            ]
            return tree_map(lambda leaf: leaf[:count], _joined(torch.cat, parts))

        return many

    def _later(self, function: Callable[[Tensor, Task], Any]) -> Callable[[Tensor, Task], Any]:
        """Settle on the first task that comes."""
        chosen: list[Callable[[Tensor, Task], Any]] = []

        def many(theta: Tensor, tasks: Task) -> Any:
            if not chosen:
                work = work_of(function, theta, first_task(tasks))
                chosen.append(self.resolved(work, theta.device).per_task(function))
            return chosen[0](theta, tasks)

        return many


def first_task(tasks: Task) -> Task:
    """Take the first of T tasks."""
    task: Task = tree_map(lambda leaf: leaf[0], tasks)
    return task


def count_tasks(tasks: Task) -> int:
    """Read T off the leading axis of the query set."""
    counts: list[int] = []
    tree_map(lambda leaf: counts.append(len(leaf)), tasks.query)
    return counts[0]


def _rows(tasks: Task, start: int, stop: int) -> Task:
    part: Task = tree_map(lambda leaf: leaf[start:stop], tasks)
    return part


def _padded(tasks: Task, more: int) -> Task:
    """Repeat the last task `more` times."""
    longer: Task = tree_map(
        lambda leaf: torch.cat([leaf, leaf[-1:].expand(more, *leaf.shape[1:])]), tasks
    )
    return longer


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
