"""FOMAML: what is left of MAML when every second derivative is dropped?"""

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
    r"""Query gradient at the adapted parameters, applied to theta as it is.

    The meta-gradient is :math:`\nabla F(\phi_K)`: MAML with every Hessian set to zero. It costs no
    second derivative and is biased by what they would have changed.
    (Nichol, Achiam & Schulman, 2018, https://arxiv.org/abs/1803.02999).
    """

    def __call__(self, problem: Problem, theta: Tensor, task: Task) -> MetaGrad:
        """Give the first-order meta-gradient `(Q,)` of one task at theta `(Q,)`."""
        path = adapt(self.inner_optimizer, self.steps, problem, theta, task, NO_BACKWARD)
        loss, v, direct = derivatives.value_and_gradients(
            problem.outer_loss, path.last, theta, task.query
        )
        return MetaGrad(through_init(problem, theta, v) + direct, loss, path.last, {})

    def reference(self) -> Algorithm:
        """Give the exact gradient of the same query loss."""
        return MAML(self.steps, self.inner_optimizer, self.batch)

    def objective(self, problem: Problem, theta: Tensor, task: Task) -> Tensor:
        """Give the query loss `()` after adaptation."""
        phi = adapt(self.inner_optimizer, self.steps, problem, theta, task, NO_BACKWARD).last
        return problem.outer_loss(phi, theta, task.query)
