"""Tasks, and the addresses by which they are drawn."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

# The pytrees that torch.func itself accepts; torch has no public name for this map yet.
from torch.utils._pytree import tree_map

__all__ = ["Address", "Data", "Loss", "Sampler", "Task", "cast", "tree_map"]

Data = Any  # a pytree of tensors, e.g. (x, y)
Loss = Callable[[Tensor, Tensor, Data], Tensor]  # (phi, theta, data) -> ()


class Address(NamedTuple):
    """Addresses of T tasks: which task, and which draw of each of its parts, integers `(T,)`.

    `task` is the task's index; the other fields are the numbers of independent redraws of its
    support set, query set, inner mini-batches and label permutation.

    >>> import numpy as np
    >>> import metabench as mb
    >>> address = mb.Address.fresh(start=0, count=3)
    >>> address.task
    array([0, 1, 2])
    >>> redrawn = address._replace(support=np.ones(3, np.int64))  # other support sets
    >>> one, other = (mb.Sinusoid().sample(each, seed=0) for each in (address, redrawn))
    >>> (one.query[0] == other.query[0]).all(), (one.support[0] == other.support[0]).any()
    (tensor(True), tensor(False))
    """

    task: NDArray[np.int64]
    support: NDArray[np.int64]
    query: NDArray[np.int64]
    inner: NDArray[np.int64]
    label: NDArray[np.int64]

    @classmethod
    def fresh(cls, start: int, count: int) -> Address:
        """Return the addresses of the first draw of tasks `start .. start + count - 1`."""
        first = np.zeros(count, np.int64)
        return cls(np.arange(start, start + count, dtype=np.int64), first, first, first, first)

    def part(self, start: int, stop: int) -> Address:
        """Return the addresses at positions `start .. stop - 1`."""
        return Address(*(axis[start:stop] for axis in self))


class Task(NamedTuple):
    """One task, or T of them when every tensor has a leading axis T.

    `noise` holds the support rows of each inner step's mini-batch, integers `(K, b)`,
    and is an empty tuple where every step uses the whole support set.

    >>> import torch
    >>> import metabench as mb
    >>> x, y = torch.randn(8, 5, 1), torch.randn(8, 5, 1)
    >>> task = mb.Task(support=(x, y), query=(x, y))  # eight tasks of five examples
    >>> task.support[0].shape
    torch.Size([8, 5, 1])
    """

    support: Data
    query: Data
    noise: Tensor | tuple[()] = ()


Sampler = Callable[[Address, int], Task]  # (address, seed) -> Task with a leading T


def cast(task: Task, like: Tensor) -> Task:
    """Return a task on the device of `like`, with floating-point tensors in its dtype.

    Complex tensors get the complex numbers of that precision.
    """

    def move(leaf: Tensor) -> Tensor:
        if leaf.is_complex() and like.dtype in (torch.float32, torch.float64):
            return leaf.to(like.device, like.dtype.to_complex())
        return leaf.to(like) if torch.is_floating_point(leaf) else leaf.to(like.device)

    moved: Task = tree_map(move, task)
    return moved
