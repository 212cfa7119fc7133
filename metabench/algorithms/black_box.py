"""A meta-gradient estimator of one's own, in an algorithm's place."""

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
    """Measure `estimator(theta, task) -> (loss, gradient)`, whatever it is written with.

    theta is a dictionary of the problem's named meta-parameters; the gradient is a dictionary
    likewise, a flat vector, or tensors in the order of theta, as `torch.autograd.grad` gives them.
    The loss may be None, or left out. The estimator sees plain tensors, one task after another.
    """

    function: Callable[[dict[str, Tensor], Task], Any] = field(metadata={"setting": False})
    batched: bool = False  # it takes T tasks with a leading axis, and gives means over them
    name: str = "black box"  # what tables call it

    loops: ClassVar[bool] = True
    withheld: ClassVar[str] = (
        "the estimator is a black box, so its inner loop, Hessians and adapted parameters can't be "
        "had; those take one of metabench's algorithms on the same problem"
    )

    def __call__(self, problem: Problem, theta: Tensor, task: Task) -> MetaGrad:
        """Give the estimate `(Q,)` of one task at theta `(Q,)`; `phi` is empty."""
        if self.batched:
            task = tree_map(lambda leaf: leaf[None], task)
        return self.estimate(problem, theta, task)

    def estimate(self, problem: Problem, theta: Tensor, task: Task) -> MetaGrad:
        """Call the estimator on what it takes: one task, or T of them if it is batched."""
        layout = problem.layouts.theta
        named = {name: value.clone() for name, value in layout.unflatten(theta.detach()).items()}
        found = self.function(named, task)
        loss, grad = found if isinstance(found, tuple) and len(found) == 2 else (None, found)
        return MetaGrad(_flat(grad, layout), _number(loss, theta), theta.new_empty(0), {})


def _flat(grad: Any, layout: Layout) -> Tensor:
    if isinstance(grad, Mapping):
        return layout.flatten(grad).detach()
    if isinstance(grad, tuple | list):
        if len(grad) != len(layout.names):
            raise InvalidInput(
                f"The estimator gave {len(grad)} gradients; theta has {len(layout.names)} parts: "
                f"{', '.join(layout.names)}."
            )
        return layout.flatten(dict(zip(layout.names, grad, strict=True))).detach()
    if not isinstance(grad, Tensor) or grad.shape != (layout.size,):
        given = tuple(grad.shape) if isinstance(grad, Tensor) else type(grad).__name__
        raise InvalidInput(
            f"The estimator gave {given} for a gradient; it must give (loss, gradient), the "
            f"gradient by name or as one vector of {layout.size} numbers."
        )
    return grad.detach()


def _number(loss: Any, theta: Tensor) -> Tensor:
    if loss is None:
        return theta.new_full((), math.nan)
    if isinstance(loss, Tensor) and loss.shape != ():
        raise InvalidInput(
            f"The estimator gave a loss of shape {tuple(loss.shape)}; it must be one number."
        )
    return torch.as_tensor(loss, device=theta.device).detach()
