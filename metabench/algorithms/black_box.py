"""A user-defined meta-gradient estimator, written with any library."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
from torch import Tensor

from metabench.algorithms.base import Estimator, MetaGrad
from metabench.problems.parameter_layout import Layout
from metabench.problems.problem import Problem
from metabench.problems.tasks import Task, tree_map
from metabench.settings.errors import InvalidInput


@dataclass(frozen=True)
class BlackBox(Estimator):
    """A custom estimator `function(theta, task) -> (loss, gradient)`, written with any library.

    theta is a dictionary of the problem's named meta-parameters. The gradient is a dictionary with
    the same names, a flat vector, or a list of tensors in the order of theta, as returned by
    `torch.autograd.grad`. The loss may be None or left out. The function gets plain tensors, no
    vmap, one task at a time.

    >>> import metabench as mb
    >>> family = mb.Quadratic(dim=4)
    >>> def estimate(theta, task):
    ...     return None, {name: 2 * value for name, value in theta.items()}
    >>> estimator = mb.BlackBox(estimate)
    >>> subject = mb.Subject(family.problem(), family.sample, estimator, family.theta(seed=0))
    >>> subject.meta_gradients(mb.Address.fresh(0, 3), seed=0).grad.shape  # of 3 tasks
    torch.Size([3, 4])
    """

    function: Callable[[dict[str, Tensor], Task], Any] = field(metadata={"setting": False})
    batched: bool = False  # the function takes T tasks with a leading axis and returns their mean
    name: str = "black box"  # its name in tables

    loops: ClassVar[bool] = True
    withheld: ClassVar[str] = (
        "the estimator is a black box, so its inner loop, Hessians and adapted parameters are not "
        "available; measure one of metabench's algorithms on the same problem to get them"
    )

    def __call__(self, problem: Problem, theta: Tensor, task: Task) -> MetaGrad:
        """Compute the estimate `(Q,)` of one task at theta `(Q,)`; `phi` is empty."""
        if self.batched:
            task = tree_map(lambda leaf: leaf[None], task)
        return self.estimate(problem, theta, task)

    def estimate(self, problem: Problem, theta: Tensor, task: Task) -> MetaGrad:
        """Call the function on one task, or on T tasks if it is batched.

        Args:
            problem: gives the names and shapes in theta.
            theta: meta-parameters, `(Q,)`.
            task: one task, or T tasks with a leading axis.

        Returns:
            The estimate; `phi` is empty.
        """
        layout = problem.layouts.theta
        named = {name: value.clone() for name, value in layout.unflatten(theta.detach()).items()}
        found = self.function(named, task)
        loss, grad = found if isinstance(found, tuple) and len(found) == 2 else (None, found)
        return MetaGrad(_flat_gradient(grad, layout), _scalar(loss, theta), theta.new_empty(0), {})


def _flat_gradient(grad: Any, layout: Layout) -> Tensor:
    if isinstance(grad, Mapping):
        return layout.flatten(grad).detach()
    if isinstance(grad, tuple | list):
        if len(grad) != len(layout.names):
            raise InvalidInput(
                f"The estimator returned {len(grad)} gradients; theta has {len(layout.names)} "
                f"parts: {', '.join(layout.names)}."
            )
        return layout.flatten(dict(zip(layout.names, grad, strict=True))).detach()
    if not isinstance(grad, Tensor) or grad.shape != (layout.size,):
        given = (
            f"shape {tuple(grad.shape)}"
            if isinstance(grad, Tensor)
            else f"type {type(grad).__name__}"
        )
        raise InvalidInput(
            f"The estimator returned a gradient of {given}; it must return (loss, gradient), the "
            f"gradient as a dictionary by name or one vector of {layout.size} numbers."
        )
    return grad.detach()


def _scalar(loss: Any, theta: Tensor) -> Tensor:
    if loss is None:
        return theta.new_full((), math.nan)
    if isinstance(loss, Tensor) and loss.shape != ():
        raise InvalidInput(
            f"The estimator returned a loss of shape {tuple(loss.shape)}; it must be one number."
        )
    return torch.as_tensor(loss, device=theta.device).detach()
