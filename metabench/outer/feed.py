"""Tasks of each outer step: addressed, so that step n sees the same ones after any restart."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

# The pytrees that torch.func itself accepts; torch has no public name for these yet.
from torch.utils._pytree import tree_flatten, tree_unflatten

from metabench.problem import Address, Task, tree_map
from metabench.samplers import Indexed, Stream
from metabench.subject import Subject

HELD_OUT = 2**40  # where held-out tasks begin, beyond those of any training
AHEAD = 2**18  # bytes of tasks that are drawn together: more, and they leave a core's caches
MOST = 256  # steps that are drawn together: beyond this a draw costs its arithmetic alone


class Feed:
    """Draws the tasks of many outer steps at once: an addressed draw costs its calls.

    Step n sees the tasks first + n B .. first + (n + 1) B - 1 of the seed.
    """

    def __init__(self, subject: Subject, seed: int, batch: int, first: int = 0) -> None:
        """Begin; nothing is drawn yet."""
        self._subject, self._seed, self._batch, self._first = subject, seed, batch, first
        self._start = self._stop = 0  # the steps that are held
        self._ahead = 1
        self._held: list[Task] = []

    def address(self, step: int) -> Address:
        """Give the addresses of one step's tasks."""
        return Address.fresh(self._first + step * self._batch, self._batch)

    def __call__(self, step: int, last: int) -> Task:
        """Give the tasks of one step, `(B, ...)`; those up to `last` may be drawn with them."""
        if not self._start <= step < self._stop:
            self._draw(step, max(min(self._ahead, last - step), 1))
        return self._held[step - self._start]

    def _draw(self, step: int, steps: int) -> None:
        B = self._batch
        address = Address.fresh(self._first + step * B, steps * B)
        tasks = self._subject.draw(address, self._seed)
        self._start, self._stop = step, step + steps
        self._held = _apart(tasks, B, steps)
        self._ahead = max(1, min(MOST, AHEAD * steps // max(_bytes(tasks), 1)))


def split(subject: Subject, held_out: int) -> tuple[int, Address]:
    """Give the first task of training, and the addresses of those it never sees.

    A sampler of one's own may have no far end: there, the first tasks are held out.
    """
    if isinstance(subject.sample, Stream | Indexed):
        return held_out, Address.fresh(0, held_out)
    return 0, Address.fresh(HELD_OUT, held_out)


def _apart(tree: Any, size: int, count: int) -> list[Any]:
    """Cut T = count size tasks into batches, each in the form of all."""
    if isinstance(tree, Tensor):
        return list(torch.split(tree, size))
    if isinstance(tree, Task) or (type(tree) is tuple and tree):
        parts = zip(*(_apart(part, size, count) for part in tree), strict=True)
        return [Task._make(part) for part in parts] if isinstance(tree, Task) else list(parts)
    leaves, spec = tree_flatten(tree)
    cut = [torch.split(leaf, size) for leaf in leaves]
    return [tree_unflatten([parts[i] for parts in cut], spec) for i in range(count)]


def _bytes(tasks: Task) -> int:
    sizes: list[int] = []

    def note(leaf: Tensor) -> None:
        sizes.append(leaf.numel() * leaf.element_size())

    tree_map(note, tasks)
    return sum(sizes)
