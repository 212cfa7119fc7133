"""The transfer baseline: does meta-learning beat joint training followed by fine-tuning?"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from metabench.algorithms.adapt import adapt
from metabench.algorithms.base import Algorithm, MetaGrad, through_init
from metabench.autodiff import derivatives
from metabench.problems.problem import Problem
from metabench.problems.tasks import Task


@dataclass(frozen=True)
class Pretrain(Algorithm):
    r"""Joint training on all tasks at once; the inner loop fine-tunes only what is reported.

    The gradient is :math:`\tfrac12 \nabla (f + F)(\phi_0)`, of support and query loss before any
    adaptation, while `loss` is :math:`F(\phi_K)` after fine-tuning, so that it compares with
    meta-learners'. On tasks that contradict each other it learns their mean.
    (Finn, Abbeel & Levine, 2017, https://arxiv.org/abs/1703.03400), section 5.1.
    """

    def __call__(self, problem: Problem, theta: Tensor, task: Task) -> MetaGrad:
        """Give the joint-training gradient `(Q,)` of one task at theta `(Q,)`."""
        start = problem.init(theta)
        _, slope, direct = derivatives.value_and_gradients(
            problem.inner_loss, start, theta, task.support
        )
        _, other, besides = derivatives.value_and_gradients(
            problem.outer_loss, start, theta, task.query
        )
        phi = adapt(self.inner_optimizer, self.steps, problem, theta, task).last
        grad = through_init(problem, theta, (slope + other) / 2) + (direct + besides) / 2
        return MetaGrad(grad, problem.outer_loss(phi, theta, task.query), phi, {})

    def differentiated(self, problem: Problem, theta: Tensor, task: Task) -> Tensor:
        """Give the mean `()` of support and query loss before adaptation."""
        start = problem.init(theta)
        support = problem.inner_loss(start, theta, task.support)
        return (support + problem.outer_loss(start, theta, task.query)) / 2

    @property
    def exact(self) -> bool:
        """Whether these settings give the gradient itself: of the joint loss."""
        return True

    def objective(self, problem: Problem, theta: Tensor, task: Task) -> Tensor:
        """Give the query loss `()` after fine-tuning."""
        phi = adapt(self.inner_optimizer, self.steps, problem, theta, task).last
        return problem.outer_loss(phi, theta, task.query)
