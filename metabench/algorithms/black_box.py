"""A user-defined meta-gradient estimator, written with any library."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
from torch import Tensor

from metabench.algorithms.base import Algorithm, Estimator, MetaGrad
from metabench.algorithms.estimator_signature import check_estimator
from metabench.algorithms.returned_estimate import loss_and_gradient
from metabench.problems.problem import Problem
from metabench.problems.tasks import Task, tree_map
from metabench.settings.errors import InvalidInput


@dataclass(frozen=True)
class BlackBox(Estimator):
    """A custom estimator `function(theta, task) -> (loss, gradient)`, written with any library.

    theta is a dictionary of the problem's named meta-parameters. The gradient is a dictionary with
    the same names, a flat vector, or a list of tensors in the order of theta, as returned by
    `torch.autograd.grad`; None stands for zero. The loss may be None or left out: a pair whose
    entries have the shapes of theta's two parts is their gradient. The function gets plain tensors,
    no vmap, one task at a time.

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
    # the algorithm that it is meant to be: `verify` compares both, and names known slips
    implements: Algorithm | None = field(default=None, metadata={"setting": False})

    loops: ClassVar[bool] = True
    withheld: ClassVar[str] = (
        "the estimator is a black box, so its inner loop, Hessians and adapted parameters are not "
        "available; measure one of metabench's algorithms on the same problem to get them"
    )

    def __post_init__(self) -> None:
        """Check that the function takes (theta, task)."""
        check_estimator(self.function)
        if not isinstance(self.batched, bool):
            raise InvalidInput(f"batched is {self.batched!r}; it must be True or False.")
        if not isinstance(self.implements, Algorithm | None):
            raise InvalidInput(
                f"implements is {self.implements!r}; it must be an algorithm, such as mb.MAML()."
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
        own = tree_map(torch.clone, task)  # what the function writes to is its own
        loss, grad = loss_and_gradient(self.function(named, own), layout, theta)
        return MetaGrad(grad, loss, theta.new_empty(0), {})
