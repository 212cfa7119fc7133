"""The tasks of one outer step, cut from many that were drawn together."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any, NamedTuple

import torch
from torch import Tensor

# The pytrees that torch.func itself accepts; torch has no public name for these yet.
from torch.utils._pytree import TreeSpec, tree_flatten, tree_leaves, tree_unflatten

from metabench.problems.tasks import Task

Rows = Sequence[Tensor]  # all numbers of a batch, those of one dtype in one tensor (n,)


class LeafPlace(NamedTuple):
    """Where one leaf of a batch's tree is among its rows."""

    dtype: torch.dtype
    row: int
    start: int
    shape: torch.Size  # (B, ...)

    def view(self, rows: Rows) -> Tensor:
        """Look at the leaf."""
        return rows[self.row][self.start : self.start + self.shape.numel()].view(self.shape)


class BatchForm(NamedTuple):
    """What batches have in common that one compiled function can take."""

    tree: TreeSpec
    places: tuple[LeafPlace, ...]

    def tasks(self, rows: Rows) -> Task:
        """Give the tasks of a batch, `(B, ...)`."""
        tasks: Task = tree_unflatten([place.view(rows) for place in self.places], self.tree)
        return tasks


class DrawnTasks:
    """T tasks that were drawn together, in batches of B."""

    def __init__(self, tasks: Task, size: int) -> None:
        """Cut nothing yet."""
        self._tasks, self._size = tasks, size
        self._cut: list[Task] = []
        leaves, tree = tree_flatten(tasks)
        self.bytes = sum(leaf.numel() * leaf.element_size() for leaf in leaves)
        self._count = len(leaves[0]) // size
        self.form = _form(leaves, tree, size)

    def tasks(self, number: int) -> Task:
        """Give a batch as it was drawn, `(B, ...)`."""
        if "rows" in vars(self):
            return self.form.tasks(self.rows[number])
        self._cut = self._cut or _apart(self._tasks, self._size, self._count)
        return self._cut[number]

    @cached_property
    def rows(self) -> list[Rows]:
        """Give each batch in as few tensors as can be: each one more costs a small step.

        Once this was asked for, the tasks are held as rows alone.
        """
        parts: dict[torch.dtype, list[Tensor]] = {}
        for leaf, place in zip(tree_leaves(self._tasks), self.form.places, strict=True):
            parts.setdefault(leaf.dtype, []).append(leaf.reshape(-1, place.shape.numel()))
        self._tasks, self._cut = Task((), ()), []
        return list(zip(*(torch.cat(each, 1).unbind() for each in parts.values()), strict=True))


class Batch(NamedTuple):
    """The tasks of one step."""

    drawn: DrawnTasks
    number: int

    @property
    def tasks(self) -> Task:
        """Give them as they were drawn, `(B, ...)`."""
        return self.drawn.tasks(self.number)

    @property
    def rows(self) -> Rows:
        """Give them as `drawn.form` says."""
        return self.drawn.rows[self.number]


def _form(leaves: Sequence[Tensor], tree: TreeSpec, size: int) -> BatchForm:
    """Say what is where in a batch's rows."""
    ends: dict[torch.dtype, int] = {}
    places = []
    for leaf in leaves:
        start = ends.setdefault(leaf.dtype, 0)
        shape = torch.Size((size, *leaf.shape[1:]))
        places.append(LeafPlace(leaf.dtype, list(ends).index(leaf.dtype), start, shape))
        ends[leaf.dtype] += shape.numel()
    return BatchForm(tree, tuple(places))


def _apart(tree: Any, size: int, count: int) -> list[Any]:
    """Cut T = count size tasks into batches; torch's own trees take as long as small kernels."""
    if isinstance(tree, Tensor):
        return list(torch.split(tree, size))
    if isinstance(tree, Task) or (type(tree) is tuple and tree):
        parts = zip(*(_apart(part, size, count) for part in tree), strict=True)
        return [Task._make(part) for part in parts] if isinstance(tree, Task) else list(parts)
    leaves, spec = tree_flatten(tree)
    cut = [torch.split(leaf, size) for leaf in leaves]
    return [tree_unflatten([parts[i] for parts in cut], spec) for i in range(count)]
