"""FOMAML: MAML without second derivatives."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from metabench.algorithms.adapt import NO_BACKWARD, adapt
from metabench.algorithms.base import Algorithm, MetaGrad, through_init
from metabench.algorithms.maml import MAML
from metabench.autodiff import derivatives
from metabench.problems.problem import Problem
from metabench.problems.tasks import Task


@dataclass(frozen=True)
class FOMAML(Algorithm):
    r"""First-order MAML: the query gradient at the adapted parameters, without second derivatives.

    The meta-gradient is :math:`\nabla F(\phi_K)`: MAML's with every inner Hessian set to zero, so a
    biased estimate.
    (Nichol, Achiam & Schulman, 2018, https://arxiv.org/abs/1803.02999).

    >>> import metabench as mb
    >>> family = mb.Quadratic(dim=4)
    >>> algorithm = mb.FOMAML(steps=5, inner_optimizer=mb.SGD(rate=0.1))
    >>> subject = mb.Subject(family.problem(), family.sample, algorithm, family.theta(seed=0))
    >>> subject.meta_gradients(mb.Address.fresh(0, 3), seed=0).grad.shape  # of 3 tasks
    torch.Size([3, 4])
    """

    def __call__(self, problem: Problem, theta: Tensor, task: Task) -> MetaGrad:
        """Compute the first-order meta-gradient `(Q,)` of one task at theta `(Q,)`."""
        phi = adapt(self.inner_optimizer, self.steps, problem, theta, task, NO_BACKWARD).last
        loss, v, direct = derivatives.value_and_gradients(
            problem.outer_loss, phi, theta, task.query
        )
        return MetaGrad(through_init(problem, theta, v) + direct, loss, phi, {})

    def reference(self) -> Algorithm:
        """Return MAML: the exact gradient of the same query loss."""
        return MAML(self.steps, self.inner_optimizer, self.batch)

    def objective(self, problem: Problem, theta: Tensor, task: Task) -> Tensor:
        """Compute the query loss `()` after adaptation."""
        phi = adapt(self.inner_optimizer, self.steps, problem, theta, task, NO_BACKWARD).last
        return problem.outer_loss(phi, theta, task.query)
