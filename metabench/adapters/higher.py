"""Meta-gradients by higher, which makes torch's own modules and optimizers differentiable."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

from torch import Tensor, nn

from metabench.adapters.modules import filled, library, with_gradient
from metabench.algorithms.black_box import BlackBox
from metabench.problems.tasks import Task


def from_higher(
    adapted_loss: Callable[[Any, Any, Task], Tensor], net: nn.Module, optimizer: Any
) -> BlackBox:
    """Return the meta-gradient that higher computes of your inner loop.

    (Grefenstette et al., 2019, https://arxiv.org/abs/1910.01727).

    Args:
        adapted_loss: `(fast, step, task) -> ()`: takes inner steps by `step.step(loss)` on the
            functional module `fast` and returns the query loss.
        net: the module that the problem was made from; it is copied.
        optimizer: a `torch.optim` optimizer of its parameters; it is copied.

    >>> import torch
    >>> import metabench as mb
    >>> net = torch.nn.Linear(1, 1)
    >>> def adapted_loss(fast, step, task):
    ...     (x, y), (query_x, query_y) = task.support, task.query
    ...     step.step(((fast(x) - y) ** 2).mean())
    ...     return ((fast(query_x) - query_y) ** 2).mean()
    >>> sgd = torch.optim.SGD(net.parameters(), lr=0.1)
    >>> mine = mb.adapters.from_higher(adapted_loss, net, sgd)  # then --algo my.py:mine
    >>> mine.name
    'higher'
    """

    def estimate(theta: dict[str, Tensor], task: Task) -> tuple[Tensor, dict[str, Tensor]]:
        higher = library("higher")
        module, inner = copy.deepcopy((net, optimizer))
        leaves = filled(module, theta)
        with higher.innerloop_ctx(module, inner, copy_initial_weights=False) as (fast, step):
            return with_gradient(adapted_loss(fast, step, task), leaves)

    return BlackBox(estimate, name="higher")
