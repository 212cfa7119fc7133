"""Meta-gradients by JAX, of the same tasks and parameters, which are passed by DLPack."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils.dlpack import from_dlpack

from metabench.adapters.modules import library
from metabench.algorithms.black_box import BlackBox
from metabench.problems.tasks import Task, tree_map


def from_jax(adapted_loss: Callable[[Any, Any, Any], Any], compiled: bool = True) -> BlackBox:
    """Return the gradient that JAX computes of your loss after adaptation.

    JAX computes in float64 where theta is in float64.

    Args:
        adapted_loss: `(theta, support, query) -> ()` in JAX: theta a dictionary by name; takes the
            inner steps with `jax.grad` and returns the query loss.
        compiled: whether `jax.jit` compiles it, once for each shape of tasks.

    >>> import metabench as mb
    >>> def adapted_loss(theta, support, query):
    ...     (x, y), (query_x, query_y) = support, query
    ...     slope = theta["slope"] - 0.1 * (2 * (theta["slope"] * x - y) * x).mean()
    ...     return ((slope * query_x - query_y) ** 2).mean()
    >>> mb.adapters.from_jax(adapted_loss).name
    'jax'
    """
    made: list[Callable[..., Any]] = []  # kept, since JAX's cache is by function

    def estimate(theta: dict[str, Tensor], task: Task) -> tuple[Tensor, dict[str, Tensor]]:
        jax = library("jax")
        if not made:
            function = jax.value_and_grad(adapted_loss)
            made.append(jax.jit(function) if compiled else function)
        wide = any(value.dtype == torch.float64 for value in theta.values())
        with jax.enable_x64(wide):
            given = tree_map(
                lambda leaf: jax.dlpack.from_dlpack(leaf.detach().contiguous()),
                (theta, task.support, task.query),
            )
            loss, grads = made[0](*given)
            # copies: arrays of JAX must not be written to
            return _copied(loss), {name: _copied(grad) for name, grad in grads.items()}

    return BlackBox(estimate, name="jax")


def _copied(array: Any) -> Tensor:
    copied: Tensor = from_dlpack(array).clone()
    return copied
