"""The tasks of one outer step, cut from tasks of many steps that were drawn together."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any, NamedTuple

import torch
from torch import Tensor

# The pytrees that torch.func itself accepts; torch has no public name for these yet.
from torch.utils._pytree import TreeSpec, tree_flatten, tree_leaves, tree_unflatten

from metabench.problems.tasks import Task

Rows = Sequence[Tensor]  # all entries of a batch, one tensor (n,) for each dtype


class LeafPlace(NamedTuple):
    """Position of one leaf of a batch in its rows."""

    dtype: torch.dtype
    row: int
    start: int
    shape: torch.Size  # (B, ...)

    def view(self, rows: Rows) -> Tensor:
        """Return the leaf as a view of the rows."""
        return rows[self.row][self.start : self.start + self.shape.numel()].view(self.shape)


class BatchForm(NamedTuple):
    """Tree and shapes of a batch; one compiled function serves all batches of a form."""

    tree: TreeSpec
    places: tuple[LeafPlace, ...]

    def tasks(self, rows: Rows) -> Task:
        """Return the tasks of a batch, `(B, ...)`, as views of its rows."""
        tasks: Task = tree_unflatten([place.view(rows) for place in self.places], self.tree)
        return tasks


class DrawnTasks:
    """T tasks that were drawn together, cut into batches of B."""

    def __init__(self, tasks: Task, size: int) -> None:
        """Hold T tasks to be cut into batches of `size`; they are cut when first read."""
        self._tasks, self._size = tasks, size
        self._cut: list[Task] = []
        leaves, tree = tree_flatten(tasks)
        self.bytes = sum(leaf.numel() * leaf.element_size() for leaf in leaves)
        self._count = len(leaves[0]) // size
        self.form = _form(leaves, tree, size)

    def tasks(self, number: int) -> Task:
        """Return batch `number` as drawn, `(B, ...)`."""
        if "rows" in vars(self):
            return self.form.tasks(self.rows[number])
        self._cut = self._cut or _cut_into_batches(self._tasks, self._size, self._count)
        return self._cut[number]

    @cached_property
    def rows(self) -> list[Rows]:
        """Each batch as one tensor per dtype: every tensor more costs time in a small step.

        After the first read the tasks are kept only as rows.
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
        """Tasks as drawn, `(B, ...)`."""
        return self.drawn.tasks(self.number)

    @property
    def rows(self) -> Rows:
        """The same tasks as rows, in the form `drawn.form`."""
        return self.drawn.rows[self.number]


def _form(leaves: Sequence[Tensor], tree: TreeSpec, size: int) -> BatchForm:
    """Return the form of batches of `size` tasks with these leaves."""
    ends: dict[torch.dtype, int] = {}
    places = []
    for leaf in leaves:
        start = ends.setdefault(leaf.dtype, 0)
        shape = torch.Size((size, *leaf.shape[1:]))
        places.append(LeafPlace(leaf.dtype, list(ends).index(leaf.dtype), start, shape))
        ends[leaf.dtype] += shape.numel()
    return BatchForm(tree, tuple(places))


def _cut_into_batches(tree: Any, size: int, count: int) -> list[Any]:
    """Cut T = count size tasks into batches; faster than torch's pytrees on small tasks."""
    if isinstance(tree, Tensor):
        return list(torch.split(tree, size))
    if isinstance(tree, Task) or (type(tree) is tuple and tree):
        parts = zip(*(_cut_into_batches(part, size, count) for part in tree), strict=True)
        return [Task._make(part) for part in parts] if isinstance(tree, Task) else list(parts)
    leaves, spec = tree_flatten(tree)
    cut = [torch.split(leaf, size) for leaf in leaves]
    return [tree_unflatten([parts[i] for parts in cut], spec) for i in range(count)]
