"""Meta-gradients by TorchOpt's differentiable optimizers."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

from torch import Tensor, nn

from metabench.adapters.modules import filled, library, with_gradient
from metabench.algorithms.black_box import BlackBox
from metabench.problems.tasks import Task
from metabench.settings.errors import unknown


def from_torchopt(
    adapted_loss: Callable[[nn.Module, Any, Task], Tensor],
    net: nn.Module,
    optimizer: str = "MetaSGD",
    **settings: Any,
) -> BlackBox:
    """Return the meta-gradient that TorchOpt computes of your inner loop.

    (Ren et al., 2022, https://arxiv.org/abs/2211.06934).

    Args:
        adapted_loss: `(net, optimizer, task) -> ()`: takes inner steps by `optimizer.step(loss)` on
            the module and returns the query loss.
        net: the module that the problem was made from; it is copied.
        optimizer: name of a differentiable optimizer of torchopt, such as MetaSGD or MetaAdam.
        **settings: its settings, such as lr.

    >>> import torch
    >>> import metabench as mb
    >>> net = torch.nn.Linear(1, 1)
    >>> def adapted_loss(net, optimizer, task):
    ...     (x, y), (query_x, query_y) = task.support, task.query
    ...     optimizer.step(((net(x) - y) ** 2).mean())
    ...     return ((net(query_x) - query_y) ** 2).mean()
    >>> mine = mb.adapters.from_torchopt(adapted_loss, net, "MetaSGD", lr=0.1)
    >>> mine.name
    'torchopt'
    """

    def estimate(theta: dict[str, Tensor], task: Task) -> tuple[Tensor, dict[str, Tensor]]:
        torchopt = library("torchopt")
        module = copy.deepcopy(net)
        leaves = filled(module, theta)
        kinds = [name for name in dir(torchopt) if name.startswith("Meta")]
        if optimizer not in kinds:
            raise unknown("differentiable optimizer", optimizer, kinds, " in torchopt")
        inner = getattr(torchopt, optimizer)(module, **settings)
        return with_gradient(adapted_loss(module, inner, task), leaves)

    return BlackBox(estimate, name="torchopt")
