"""Pretraining: the transfer-learning baseline, joint training followed by fine-tuning."""

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
    r"""Joint training on all tasks; fine-tuning in the inner loop affects the reported loss only.

    The gradient is :math:`\tfrac12 \nabla (f + F)(\phi_0)`, of support and query loss before
    adaptation. `loss` is :math:`F(\phi_K)` after fine-tuning, comparable with meta-learners'
    losses. On tasks that contradict each other it learns their mean.
    (Finn, Abbeel & Levine, 2017, https://arxiv.org/abs/1703.03400), section 5.1.

    >>> import metabench as mb
    >>> family = mb.Quadratic(dim=4)
    >>> one, five = (mb.Pretrain(steps=steps) for steps in (1, 5))
    >>> a = mb.Subject(family.problem(), family.sample, one, family.theta(seed=0))
    >>> b = a.with_algorithm(five)
    >>> found, more = (each.meta_gradients(mb.Address.fresh(0, 3), seed=0) for each in (a, b))
    >>> bool((found.grad == more.grad).all()), bool((found.loss == more.loss).any())
    (True, False)
    """

    def __call__(self, problem: Problem, theta: Tensor, task: Task) -> MetaGrad:
        """Compute the joint-training gradient `(Q,)` of one task at theta `(Q,)`."""
        start = problem.init(theta)
        _, support_phi, support_theta = derivatives.value_and_gradients(
            problem.inner_loss, start, theta, task.support
        )
        _, query_phi, query_theta = derivatives.value_and_gradients(
            problem.outer_loss, start, theta, task.query
        )
        phi = adapt(self.inner_optimizer, self.steps, problem, theta, task).last
        through = through_init(problem, theta, (support_phi + query_phi) / 2)
        grad = through + (support_theta + query_theta) / 2
        return MetaGrad(grad, problem.outer_loss(phi, theta, task.query), phi, {})

    def differentiated(self, problem: Problem, theta: Tensor, task: Task) -> Tensor:
        """Compute the mean `()` of support and query loss before adaptation."""
        start = problem.init(theta)
        support = problem.inner_loss(start, theta, task.support)
        return (support + problem.outer_loss(start, theta, task.query)) / 2

    @property
    def exact(self) -> bool:
        """Whether the gradient of the joint loss is exact: always."""
        return True

    def objective(self, problem: Problem, theta: Tensor, task: Task) -> Tensor:
        """Compute the query loss `()` after fine-tuning."""
        phi = adapt(self.inner_optimizer, self.steps, problem, theta, task).last
        return problem.outer_loss(phi, theta, task.query)
