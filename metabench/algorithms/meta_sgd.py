"""Meta-SGD: what if every parameter learned its own inner rate, sign included?"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from metabench.algorithms.adapt import Rates, adapt
from metabench.algorithms.backpropagation import unrolled_meta_gradient
from metabench.algorithms.base import Algorithm, Loop, MetaGrad
from metabench.problems.problem import Problem
from metabench.problems.tasks import Task


@dataclass(frozen=True)
class MetaSGD(Algorithm):
    r"""MAML that learns an inner rate for each parameter beside the initialization.

    :math:`\phi_{k+1} = \phi_k - \alpha \circ \nabla f(\phi_k)`, the paper's with K = 1. theta is
    followed by the rates, parts `rate.NAME`, which begin at `inner_optimizer.rate` everywhere, may
    become negative, and multiply whatever the inner step would do at rate 1.
    (Li, Zhou, Chen & Li, 2017, https://arxiv.org/abs/1707.09835).
    """

    @property
    def exact(self) -> bool:
        """Whether these settings give the gradient itself: in the rates, too."""
        return True

    def extend(self, problem: Problem, theta: Tensor) -> tuple[Problem, Tensor]:
        """Append one rate a parameter."""
        start = problem.layouts.phi.unflatten(
            theta.new_full((problem.layouts.phi.size,), self.inner_optimizer.rate)
        )
        return problem.appended(theta, {f"rate.{name}": value for name, value in start.items()})

    def __call__(self, problem: Problem, theta: Tensor, task: Task) -> MetaGrad:
        """Give the meta-gradient `(Q,)` of one task at theta `(Q,)`, rates included."""
        return unrolled_meta_gradient(self._unit(), problem, theta, task, rates=_rates(problem))

    def objective(self, problem: Problem, theta: Tensor, task: Task) -> Tensor:
        """Give the query loss `()` after adaptation at the learned rates."""
        return problem.outer_loss(self.adapted(problem, theta, task), theta, task.query)

    def adapted(self, problem: Problem, theta: Tensor, task: Task) -> Tensor:
        """Give where the inner loop ends at the learned rates, `(P,)`."""
        unit, rates = self._unit(), _rates(problem)
        return adapt(unit.inner_optimizer, unit.steps, problem, theta, task, rates=rates).last

    def rates(self, problem: Problem, theta: Tensor) -> Tensor:
        """Give the learned rates, `(P,)`."""
        return _rates(problem)(theta, 0)

    def loop(self, problem: Problem) -> Loop:
        """Give the steps at rate 1, each move multiplied by the learned rates."""
        return Loop(problem, self._unit().inner_optimizer, _rates(problem))

    def _unit(self) -> MetaSGD:
        return replace(self, inner_optimizer=replace(self.inner_optimizer, rate=1.0))


def _rates(problem: Problem) -> Rates:
    P = problem.layouts.phi.size
    return lambda theta, k: torch.split(theta, [len(theta) - P, P])[1]
