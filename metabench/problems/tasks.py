"""Tasks, and the addresses of their random numbers."""

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
    """Where a task's random numbers are: equally long integer arrays `(T,)`.

    `task` picks the task; the others pick one of its independent redraws.
    """

    task: NDArray[np.int64]
    support: NDArray[np.int64]
    query: NDArray[np.int64]
    inner: NDArray[np.int64]
    label: NDArray[np.int64]

    @classmethod
    def fresh(cls, start: int, count: int) -> Address:
        """Address tasks `start .. start + count - 1`, each in its first draw."""
        first = np.zeros(count, np.int64)
        return cls(np.arange(start, start + count, dtype=np.int64), first, first, first, first)

    def part(self, start: int, stop: int) -> Address:
        """Take the addresses `start .. stop - 1`."""
        return Address(*(axis[start:stop] for axis in self))


class Task(NamedTuple):
    """One task, or T of them when every tensor has a leading axis T.

    `noise` holds the support rows of each inner step's mini-batch, integers `(K, b)`,
    and is an empty tuple where every step sees the whole support set.
    """

    support: Data
    query: Data
    noise: Tensor | tuple[()] = ()


Sampler = Callable[[Address, int], Task]  # (address, seed) -> Task with a leading T


def cast(task: Task, like: Tensor) -> Task:
    """Move a task to the device of `like`, and its floating-point numbers to its dtype."""

    def move(leaf: Tensor) -> Tensor:
        return leaf.to(like) if torch.is_floating_point(leaf) else leaf.to(like.device)

    moved: Task = tree_map(move, task)
    return moved
