"""Reptile: the displacement of the inner loop as a meta-gradient, without a query loss."""

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
    r"""Displacement phi_0 - phi_K divided by alpha K; the inner loop is not differentiated.

    The meta-gradient is :math:`(\phi_0 - \phi_K) / (\alpha K)`. With plain gradient descent this is
    the mean of the K inner gradients, so its norm compares with those of other algorithms; with
    Adam only its direction is meaningful. `batch` draws a fresh mini-batch for each step, as in the
    paper. Its expectation is not the gradient of the query loss.
    (Nichol, Achiam & Schulman, 2018, https://arxiv.org/abs/1803.02999).

    >>> import metabench as mb
    >>> family = mb.Quadratic(dim=4)
    >>> algorithm = mb.Reptile(steps=5, inner_optimizer=mb.SGD(rate=0.1), batch=2)
    >>> subject = mb.Subject(family.problem(), family.sample, algorithm, family.theta(seed=0))
    >>> found = subject.meta_gradients(mb.Address.fresh(0, 3), seed=0)
    >>> bool(((subject.theta - found.phi) / 0.5).allclose(found.grad))
    True
    """

    def __post_init__(self) -> None:
        """Validate steps >= 1 and a rate that is not 0."""
        super().__post_init__()
        if self.steps < 1:
            raise InvalidInput(f"steps is {self.steps}; reptile needs at least 1 inner step.")
        if self.inner_optimizer.rate == 0:
            raise InvalidInput(
                "The inner rate is 0; reptile divides the inner loop's displacement by it."
            )

    def __call__(self, problem: Problem, theta: Tensor, task: Task) -> MetaGrad:
        """Compute the displacement over alpha K, `(Q,)`, of one task at theta `(Q,)`."""
        phi = adapt(self.inner_optimizer, self.steps, problem, theta, task, NO_BACKWARD).last
        mean_gradient = (problem.init(theta) - phi) / (self.inner_optimizer.rate * self.steps)
        loss = problem.outer_loss(phi, theta, task.query)
        return MetaGrad(through_init(problem, theta, mean_gradient), loss, phi, {})

    def objective(self, problem: Problem, theta: Tensor, task: Task) -> Tensor:
        """Compute the query loss `()` after adaptation."""
        phi = adapt(self.inner_optimizer, self.steps, problem, theta, task, NO_BACKWARD).last
        return problem.outer_loss(phi, theta, task.query)

    def check(self, problem: Problem, theta: Tensor, task: Task) -> None:
        """Reject a theta that init(theta) does not depend on."""
        v = torch.randn(problem.layouts.phi.size, generator=torch.Generator().manual_seed(0))
        if not through_init(problem, theta, v.to(theta)).any():
            raise InvalidInput(
                "Reptile updates an initialization, but this problem's init(theta) doesn't depend "
                "on theta; use maml or imaml."
            )
