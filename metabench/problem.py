"""What is learned: tasks with addresses, and the inner and outer loss of one task."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.func import functional_call

# The pytrees that torch.func itself accepts; torch has no public name for this map yet.
from torch.utils._pytree import tree_map

from metabench.layout import Layout

__all__ = ["Address", "Layouts", "Loss", "Problem", "Sampler", "Task", "tree_map"]

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


class Layouts(NamedTuple):
    """The layout of the adapted parameters phi `(P,)` and of the meta-parameters theta `(Q,)`."""

    phi: Layout
    theta: Layout


class Problem(NamedTuple):
    """The two losses of one task and the map from theta to where adaptation starts."""

    init: Callable[[Tensor], Tensor]  # theta (Q,) -> phi_0 (P,)
    inner_loss: Loss  # f(phi, theta, support) -> ()
    outer_loss: Loss  # F(phi, theta, query) -> ()
    layouts: Layouts

    @classmethod
    def from_module(cls, net: nn.Module, loss: Callable[[Tensor, Tensor], Tensor]) -> Problem:
        """Adapt all parameters of a network from an initialisation theta.

        Data are pairs `(x, y)`; both losses are `loss(net(x), y)`. The module only gives the
        architecture: its own parameter values are not used, and its buffers are left alone.
        """
        layout = Layout.of(dict(net.named_parameters()))

        def task_loss(phi: Tensor, theta: Tensor, data: Data) -> Tensor:
            x, y = data
            prediction: Tensor = functional_call(net, layout.unflatten(phi), (x,))
            return loss(prediction, y)

        return cls(_identity, task_loss, task_loss, Layouts(layout, layout))


def _identity(theta: Tensor) -> Tensor:
    return theta


def cast(task: Task, like: Tensor) -> Task:
    """Move a task to the device of `like`, and its floating-point numbers to its dtype."""

    def move(leaf: Tensor) -> Tensor:
        return leaf.to(like) if torch.is_floating_point(leaf) else leaf.to(like.device)

    moved: Task = tree_map(move, task)
    return moved
