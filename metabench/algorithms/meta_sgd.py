"""Meta-SGD: MAML with a learned inner rate for each parameter."""

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
    r"""MAML that also learns an inner rate for each parameter.

    :math:`\phi_{k+1} = \phi_k - \alpha \circ \nabla f(\phi_k)`; the paper has K = 1. The rates are
    appended to theta as parts `rate.NAME`. They start at `inner_optimizer.rate`, may become
    negative, and multiply the update of the inner optimizer at rate 1.
    (Li, Zhou, Chen & Li, 2017, https://arxiv.org/abs/1707.09835).

    >>> import metabench as mb
    >>> family = mb.Quadratic(dim=4)
    >>> algorithm = mb.MetaSGD(steps=1, inner_optimizer=mb.SGD(rate=0.1))
    >>> subject = mb.Subject(family.problem(), family.sample, algorithm, family.theta(seed=0))
    >>> len(subject.theta)  # 4 parameters and their 4 rates
    8
    >>> algorithm.rates(subject.problem, subject.theta)
    tensor([0.1000, 0.1000, 0.1000, 0.1000], dtype=torch.float64)
    """

    @property
    def exact(self) -> bool:
        """Whether the gradient is exact, in the rates too: always."""
        return True

    def extend(self, problem: Problem, theta: Tensor) -> tuple[Problem, Tensor]:
        """Append one rate per parameter to theta."""
        start = problem.layouts.phi.unflatten(
            theta.new_full((problem.layouts.phi.size,), self.inner_optimizer.rate)
        )
        return problem.appended(theta, {f"rate.{name}": value for name, value in start.items()})

    def __call__(self, problem: Problem, theta: Tensor, task: Task) -> MetaGrad:
        """Compute the meta-gradient `(Q,)` of one task at theta `(Q,)`, rates included."""
        return unrolled_meta_gradient(
            self._with_unit_rate(), problem, theta, task, rates=_rates(problem)
        )

    def objective(self, problem: Problem, theta: Tensor, task: Task) -> Tensor:
        """Compute the query loss `()` after adaptation at the learned rates."""
        return problem.outer_loss(self.adapted(problem, theta, task), theta, task.query)

    def adapted(self, problem: Problem, theta: Tensor, task: Task) -> Tensor:
        """Compute the adapted parameters phi_K `(P,)` at the learned rates."""
        unit, rates = self._with_unit_rate(), _rates(problem)
        return adapt(unit.inner_optimizer, unit.steps, problem, theta, task, rates=rates).last

    def rates(self, problem: Problem, theta: Tensor) -> Tensor:
        """Return the learned rates, `(P,)`."""
        return _rates(problem)(theta, 0)

    def loop(self, problem: Problem) -> Loop:
        """Return the inner loop: updates at rate 1, multiplied by the learned rates."""
        return Loop(problem, self._with_unit_rate().inner_optimizer, _rates(problem))

    def _with_unit_rate(self) -> MetaSGD:
        return replace(self, inner_optimizer=replace(self.inner_optimizer, rate=1.0))


def _rates(problem: Problem) -> Rates:
    P = problem.layouts.phi.size
    return lambda theta, k: torch.split(theta, [len(theta) - P, P])[1]
