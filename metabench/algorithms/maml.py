"""MAML: what is the exact gradient of the query loss after K inner steps?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from metabench import curvature
from metabench.algorithms.algorithm import Algorithm, MetaGrad, through_init
from metabench.inner import adapt, pullback
from metabench.problem import Problem, Task


@dataclass(frozen=True)
class MAML(Algorithm):
    r"""Exact gradient through K inner steps, by the adjoint recursion over the path.

    :math:`v_K = \nabla F(\phi_K)`, :math:`v_k = v_{k+1} - H_k(\alpha v_{k+1})`, and the
    meta-gradient is :math:`v_0`. Notes: `norms`, |v_k| for k = 0 .. K, `(K + 1,)`.
    (Finn, Abbeel & Levine, 2017, https://arxiv.org/abs/1703.03400).
    """

    exact: ClassVar[bool] = True

    def __call__(self, problem: Problem, theta: Tensor, task: Task) -> MetaGrad:
        """Give the meta-gradient `(Q,)` of one task at theta `(Q,)`."""
        path = adapt(self.step, self.steps, problem, theta, task)
        loss, v, direct = curvature.value_and_gradients(
            problem.outer_loss, path.last, theta, task.query
        )
        adjoint = pullback(self.step, problem, theta, task, path, v)
        grad = through_init(problem, theta, adjoint.phi) + adjoint.theta + direct
        return MetaGrad(grad, loss, path.last, {"norms": adjoint.norms})

    def objective(self, problem: Problem, theta: Tensor, task: Task) -> Tensor:
        """Give the query loss `()` after adaptation."""
        phi = adapt(self.step, self.steps, problem, theta, task).last
        return problem.outer_loss(phi, theta, task.query)
