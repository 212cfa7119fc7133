"""Vectorization: from a function of one task to a function of T tasks."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.func import vmap

from metabench.autodiff.compilation import BREAK_EVEN_LOOP, ENGINES, accelerate
from metabench.autodiff.operation_counts import MOST_BYTES_AT_ONCE, Work, work_of
from metabench.autodiff.vmap_trial import falling_back
from metabench.problems.networks.plain_attention import plain_attention
from metabench.problems.tasks import Task, tree_map
from metabench.settings.errors import InvalidInput
from metabench.settings.keywords import Settings

BATCHINGS = ("auto", "vmap", "loop")

# On a CPU, tasks with intermediate results larger than the caches gain nothing from vmap, and 256
# of them would take gigabytes: above this size they are computed one after another.
LOOP_FROM_BYTES = 2**24  # live intermediate results of one task [bytes]
LEAST_CHUNK = 32  # below, calls cost more than their arithmetic [tasks]


@dataclass(frozen=True)
class Vectorization(Settings):
    """How many tasks are computed together, and whether traced or compiled.

    All derivatives are taken inside vmap: torch's derivatives of a vmapped function are silently
    wrong for fused batch and layer norms (https://github.com/pytorch/functorch/issues/534).

    >>> import metabench as mb
    >>> family = mb.Quadratic(dim=4)
    >>> tasks, theta = family.sample(mb.Address.fresh(0, 3), 0), family.theta(seed=0)
    >>> loss = family.problem().outer_loss
    >>> per_task = mb.Vectorization("vmap").per_task(lambda at, task: loss(at, at, task.query))
    >>> per_task(theta, tasks).shape
    torch.Size([3])
    """

    settings_group: ClassVar[str] = "compute"

    batching: str = "auto"  # vmap: tasks of a chunk together; loop: one by one; auto: by bytes
    chunk: int = 512  # maximum number of tasks computed together, limits memory [tasks]
    engine: str = "auto"  # eager, trace, compile; auto: by the number of calls per shape
    looped_because: str = field(default="", metadata={"setting": False})  # why `auto` can't vmap

    def __post_init__(self) -> None:
        """Validate batching, engine and chunk >= 1."""
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
        """Resolve `auto` batching by the work of one task.

        The chunk is halved until the intermediate results of its tasks fit in memory.
        """
        large = device.type == "cpu" and work.bytes > LOOP_FROM_BYTES
        chosen = ("loop" if large else "vmap") if self.batching == "auto" else self.batching
        chunk = self.chunk
        while chunk > LEAST_CHUNK and work.bytes * chunk > MOST_BYTES_AT_ONCE:
            chunk //= 2
        return replace(self, batching=chosen, chunk=chunk)

    def looped(self, because: str) -> Vectorization:
        """Return the settings that `auto` falls back to; what vmap fails on may defy tracing too.

        `because` says why.
        """
        engine = "eager" if self.engine == "auto" else self.engine
        return replace(self, batching="loop", engine=engine, looped_because=because)

    @property
    def together(self) -> int:
        """Tasks whose intermediate results are in memory at the same time."""
        return 1 if self.batching == "loop" else self.chunk

    def per_task(self, function: Callable[[Tensor, Task], Any]) -> Callable[[Tensor, Task], Any]:
        """Turn `(theta, task) -> pytree` into `(theta, T tasks) -> pytree` with a leading T.

        The returned function caches what it has traced or compiled for each shape: reuse it. With
        `auto`, tasks that vmap fails on at the first call are computed one after another.
        """
        if self.batching == "auto":
            return self._resolving_on_first_call(function)
        if self.batching == "loop":
            apply = _looped(accelerate(function, self.engine, BREAK_EVEN_LOOP))
        else:
            apply = in_halves(accelerate(vmap(function, in_dims=(None, 0)), self.engine))

        @plain_attention()
        def many(theta: Tensor, tasks: Task) -> Any:
            count = count_tasks(tasks)
            if count <= self.chunk:
                return apply(theta, tasks)
            if self.engine in ("trace", "compile"):  # the last chunk then has no other shape
                tasks = _padded(tasks, -count % self.chunk)
            parts = [
                apply(theta, task_range(tasks, start, start + self.chunk))
                for start in range(0, count, self.chunk)
            ]
            return tree_map(lambda leaf: leaf[:count], _join_trees(torch.cat, parts))

        return many

    def or_loop(
        self, resolved: Vectorization, function: Callable[[Tensor, Task], Any]
    ) -> Callable[[Tensor, Task], Any]:
        """Return `resolved.per_task(function)`, by a loop if `auto` chose a vmap that fails.

        Args:
            resolved: these settings, resolved.
            function: `(theta, task) -> pytree`.
        """
        apply = resolved.per_task(function)
        if self.batching != "auto" or resolved.batching == "loop":
            return apply
        return falling_back(apply, resolved.looped("vmap failed").per_task(function))

    def _resolving_on_first_call(
        self, function: Callable[[Tensor, Task], Any]
    ) -> Callable[[Tensor, Task], Any]:
        """Return a function that resolves `auto` on the first task it is called with."""
        chosen: list[Callable[[Tensor, Task], Any]] = []

        def many(theta: Tensor, tasks: Task) -> Any:
            if not chosen:
                work = work_of(function, theta, first_task(tasks))
                chosen.append(self.or_loop(self.resolved(work, theta.device), function))
            return chosen[0](theta, tasks)

        return many


def first_task(tasks: Task) -> Task:
    """Return the first of T tasks."""
    return task_of(tasks, 0)


def task_of(tasks: Task, place: int) -> Task:
    """Return the task at a place among T tasks."""
    task: Task = tree_map(lambda leaf: leaf[place], tasks)
    return task


def count_tasks(tasks: Task) -> int:
    """Return T, the length of the leading axis of the query sets."""
    counts: list[int] = []
    tree_map(lambda leaf: counts.append(len(leaf)), tasks.query)
    return counts[0]


def task_range(tasks: Task, start: int, stop: int) -> Task:
    """Return tasks `start` to `stop`, without the last.

    Args:
        tasks: with a leading axis.
        start: the first.
        stop: the first that is left out.
    """
    part: Task = tree_map(lambda leaf: leaf[start:stop], tasks)
    return part


def _padded(tasks: Task, more: int) -> Task:
    """Repeat the last task `more` times."""
    longer: Task = tree_map(
        lambda leaf: torch.cat([leaf, leaf[-1:].expand(more, *leaf.shape[1:])]), tasks
    )
    return longer


def in_halves(apply: Callable[[Tensor, Task], Any]) -> Callable[[Tensor, Task], Any]:
    """Return a function that computes tasks in halves where a GPU's memory can't hold all."""

    def halved(theta: Tensor, tasks: Task) -> Any:
        count = count_tasks(tasks)
        try:
            return apply(theta, tasks)
        except torch.OutOfMemoryError:
            if count == 1:
                raise
        # outside `except`, whose traceback holds the tensors of the attempt
        warnings.warn(
            f"{count} tasks did not fit into memory together and are computed in halves; "
            "--set compute.chunk=... avoids the attempt.",
            RuntimeWarning,
            stacklevel=2,
        )
        middle = count // 2
        parts = [halved(theta, task_range(tasks, *part)) for part in ((0, middle), (middle, count))]
        return _join_trees(torch.cat, parts)

    return halved


def _looped(function: Callable[[Tensor, Task], Any]) -> Callable[[Tensor, Task], Any]:
    """Return the function applied to one task after another."""

    def apply(theta: Tensor, tasks: Task) -> Any:
        each = [
            function(theta, tree_map(lambda leaf, i=i: leaf[i], tasks))
            for i in range(count_tasks(tasks))
        ]
        return _join_trees(torch.stack, each)

    return apply


def _join_trees(join: Callable[[list[Tensor]], Tensor], parts: list[Any]) -> Any:
    return tree_map(lambda *leaves: join(list(leaves)), *parts)
