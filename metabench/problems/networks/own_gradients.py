"""Losses whose module or loss takes gradients itself, by torch.autograd.grad or backward()."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves, tree_map

from metabench.problems.networks.func_transforms import inside_func_transform
from metabench.problems.tasks import Data

# What torch says of torch.autograd.grad and backward() where no graph is recorded.
NO_GRAPH = "does not require grad"

T = TypeVar("T")
Function = Callable[[Tensor, Tensor, Data], T]


def with_graph_where_needed(function: Function[T]) -> Function[T]:
    """Return a function that records a graph where the user's code can't do without one.

    Energy models, gradient penalties and losses of differential equations call
    torch.autograd.grad; that fails under no_grad, and where phi requires no gradient. What the
    code itself makes require gradients leaves no graph behind.
    """

    def apply(phi: Tensor, theta: Tensor, data: Data) -> T:
        try:
            value = function(phi, theta, data)
        except RuntimeError as error:
            tracked = torch.is_grad_enabled() and _require_gradients(phi, theta)
            if tracked or NO_GRAPH not in str(error) or inside_func_transform():
                raise
            with torch.enable_grad():
                at, start = (each.detach().requires_grad_() for each in (phi, theta))
                return _detached(function(at, start, data))
        left = _require_gradients(*tree_leaves(value)) and not _require_gradients(phi, theta)
        if left and not inside_func_transform():
            return _detached(value)
        return value

    return apply


def _detached(value: T) -> T:
    found: T = tree_map(torch.Tensor.detach, value)
    return found


def _require_gradients(*tensors: Tensor) -> bool:
    return any(each.requires_grad for each in tensors)
