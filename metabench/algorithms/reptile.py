"""Reptile: what does the way from start to end of the inner loop say, with no query loss at all?"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from metabench.algorithms.adapt import NO_BACKWARD, adapt
from metabench.algorithms.base import Algorithm, MetaGrad, through_init
from metabench.problems.problem import Problem
from metabench.problems.tasks import Task
from metabench.settings.errors import InvalidInput


@dataclass(frozen=True)
class Reptile(Algorithm):
    r"""Displacement of the inner loop as a mean gradient, through no derivative of it.

    The meta-gradient is :math:`(\phi_0 - \phi_K) / (\alpha K)`, the mean of the K inner gradients
    where the step is plain descent, so that norms compare with those of other algorithms; with adam
    inside only its direction means anything. `batch` draws a fresh mini-batch a step, as the paper
    does. Its expectation is no gradient of the query loss.
    (Nichol, Achiam & Schulman, 2018, https://arxiv.org/abs/1803.02999).
    """

    def __post_init__(self) -> None:
        """Refuse an inner loop that goes nowhere."""
        super().__post_init__()
        if self.steps < 1:
            raise InvalidInput(
                f"steps is {self.steps}; reptile is the way its inner steps go: give 1."
            )
        if self.inner_optimizer.rate == 0:
            raise InvalidInput(
                "The inner rate is 0; reptile divides the way of the inner loop by it."
            )

    def __call__(self, problem: Problem, theta: Tensor, task: Task) -> MetaGrad:
        """Give the displacement `(Q,)` of one task at theta `(Q,)`, over alpha K."""
        path = adapt(self.inner_optimizer, self.steps, problem, theta, task, NO_BACKWARD)
        way = (problem.init(theta) - path.last) / (self.inner_optimizer.rate * self.steps)
        loss = problem.outer_loss(path.last, theta, task.query)
        return MetaGrad(through_init(problem, theta, way), loss, path.last, {})

    def objective(self, problem: Problem, theta: Tensor, task: Task) -> Tensor:
        """Give the query loss `()` after adaptation."""
        phi = adapt(self.inner_optimizer, self.steps, problem, theta, task, NO_BACKWARD).last
        return problem.outer_loss(phi, theta, task.query)

    def check(self, problem: Problem, theta: Tensor, task: Task) -> None:
        """Refuse a theta that isn't an initialization."""
        along = torch.randn(problem.layouts.phi.size, generator=torch.Generator().manual_seed(0))
        if not through_init(problem, theta, along.to(theta)).any():
            raise InvalidInput(
                "Reptile moves an initialization, and this problem's init(theta) doesn't depend on "
                "theta; use maml or imaml."
            )
