"""Meta-gradients by the update rule of learn2learn's MAML, written anew."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

from torch import Tensor, nn
from torch.func import functional_call

from metabench.adapters.modules import filled, with_gradient
from metabench.algorithms.black_box import BlackBox
from metabench.autodiff import derivatives
from metabench.problems.tasks import Task


class Learner:
    """What `maml.clone()` is there: called as the module, adapted by a loss."""

    def __init__(self, net: nn.Module, leaves: dict[str, Tensor], lr: float, first_order: bool):
        """Start from the parameters in `leaves`."""
        self._net, self._parameters, self._lr, self._first_order = net, leaves, lr, first_order

    def __call__(self, *args: Any, **keywords: Any) -> Any:
        """Call the module with the adapted parameters."""
        return functional_call(self._net, self._parameters, args, keywords)

    def adapt(self, loss: Tensor) -> None:
        """Set every parameter p to p - lr * gradient, with the gradient's graph kept."""
        values = list(self._parameters.values())
        found = derivatives.gradients_of(loss, values, create_graph=not self._first_order)
        moved = [value - self._lr * grad for value, grad in zip(values, found, strict=True)]
        self._parameters = dict(zip(self._parameters, moved, strict=True))


def from_learn2learn(
    adapted_loss: Callable[[Learner, Task], Tensor],
    net: nn.Module,
    lr: float,
    first_order: bool = False,
) -> BlackBox:
    """Return the meta-gradient of an inner loop written for `learn2learn.algorithms.MAML`.

    (Arnold, Mahajan, Datta, Bunner & Zarkias, 2020, https://arxiv.org/abs/2008.12284).

    Args:
        adapted_loss: `(learner, task) -> ()`: takes inner steps by `learner.adapt(loss)` and
            returns the query loss; `learner` is what `maml.clone()` is there.
        net: the module that the problem was made from; it is copied.
        lr: the inner rate.
        first_order: drops second derivatives.

    >>> import torch
    >>> import metabench as mb
    >>> def adapted_loss(learner, task):
    ...     (x, y), (query_x, query_y) = task.support, task.query
    ...     learner.adapt(((learner(x) - y) ** 2).mean())
    ...     return ((learner(query_x) - query_y) ** 2).mean()
    >>> mb.adapters.from_learn2learn(adapted_loss, torch.nn.Linear(1, 1), lr=0.1).name
    'learn2learn'
    """

    def estimate(theta: dict[str, Tensor], task: Task) -> tuple[Tensor, dict[str, Tensor]]:
        module = copy.deepcopy(net)
        leaves = filled(module, theta)
        return with_gradient(
            adapted_loss(Learner(module, dict(leaves), lr, first_order), task), leaves
        )

    return BlackBox(estimate, name="learn2learn")
