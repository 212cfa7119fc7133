"""Alpha MAML: inner and outer learning rates adapted by hypergradient descent."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor

from metabench.algorithms.adapt import Rates, adapt
from metabench.algorithms.backpropagation import unrolled_meta_gradient
from metabench.algorithms.base import Algorithm, CustomUpdates, Loop, MetaGrad
from metabench.problems.problem import Problem
from metabench.problems.tasks import Task
from metabench.settings.errors import InvalidInput


@dataclass(frozen=True)
class AlphaMAML(Algorithm):
    r"""MAML with inner and outer learning rates adapted by their hypergradients.

    The inner rate alpha is appended to theta as the part `rate`; it starts at
    `inner_optimizer.rate`. Its entry of the meta-gradient is
    :math:`\partial F(\phi_K) / \partial \alpha`, for plain gradient descent
    :math:`-\sum_k v_{k+1}^\top \nabla f(\phi_k)`. In training, alpha takes gradient steps of rate
    `alpha_rate`, and the outer rate beta follows `outer_hypergradient` at `beta_rate`, with every
    outer optimizer (the paper uses sgd). The defaults of these two rates are small and not from the
    paper; sweep them by powers of ten.
    (Behl, Baydin & Torr, 2019, https://arxiv.org/abs/1905.07435).

    >>> import metabench as mb
    >>> family = mb.Quadratic(dim=4)
    >>> algorithm = mb.AlphaMAML(steps=2, inner_optimizer=mb.SGD(rate=0.1))
    >>> subject = mb.Subject(family.problem(), family.sample, algorithm, family.theta(seed=0))
    >>> len(subject.theta), float(subject.theta[-1])  # phi_0 and alpha
    (5, 0.1)
    """

    alpha_rate: float = 1e-5  # learning rate of alpha; 0: alpha stays fixed [alpha^2/loss]
    beta_rate: float = 1e-6  # learning rate of the outer rate; 0: it stays fixed [beta^2/loss]

    version: ClassVar[int] = 2

    def __post_init__(self) -> None:
        """Validate finite rates >= 0."""
        super().__post_init__()
        for name in ("alpha_rate", "beta_rate"):
            if not 0 <= getattr(self, name) < math.inf:
                raise InvalidInput(
                    f"{name} is {getattr(self, name)}; it must be finite and at least 0."
                )

    @property
    def exact(self) -> bool:
        """Whether the gradient is exact, in alpha too: always."""
        return True

    def extend(self, problem: Problem, theta: Tensor) -> tuple[Problem, Tensor]:
        """Append the inner rate, one number, to theta."""
        return problem.appended(theta, {"rate": theta.new_full((1,), self.inner_optimizer.rate)})

    def custom_updates(self, problem: Problem) -> CustomUpdates:
        """Return the hypergradient descent of alpha and of the outer rate."""
        return CustomUpdates(plain_rates={"rate": self.alpha_rate}, rate=self.beta_rate)

    def __call__(self, problem: Problem, theta: Tensor, task: Task) -> MetaGrad:
        """Compute the meta-gradient `(Q,)` of one task at theta `(Q,)`; alpha's entry is last."""
        return unrolled_meta_gradient(
            self._with_unit_rate(), problem, theta, task, rates=_alpha(problem)
        )

    def objective(self, problem: Problem, theta: Tensor, task: Task) -> Tensor:
        """Compute the query loss `()` after adaptation at the learned rate."""
        return problem.outer_loss(self.adapted(problem, theta, task), theta, task.query)

    def adapted(self, problem: Problem, theta: Tensor, task: Task) -> Tensor:
        """Compute the adapted parameters phi_K `(P,)` at the learned rate."""
        unit, rates = self._with_unit_rate(), _alpha(problem)
        return adapt(unit.inner_optimizer, unit.steps, problem, theta, task, rates=rates).last

    def rates(self, problem: Problem, theta: Tensor) -> Tensor:
        """Return the learned rate of every parameter, `(P,)`."""
        return _alpha(problem)(theta, 0)

    def loop(self, problem: Problem) -> Loop:
        """Return the inner loop: updates at rate 1, multiplied by the learned rate."""
        return Loop(problem, self._with_unit_rate().inner_optimizer, _alpha(problem))

    def _with_unit_rate(self) -> AlphaMAML:
        return replace(self, inner_optimizer=replace(self.inner_optimizer, rate=1.0))


def outer_hypergradient(grad: Tensor, before: Tensor) -> Tensor:
    r"""Compute :math:`\partial L_t / \partial \beta = -g_t^\top g_{t-1}`, `()`.

    L_t is the outer loss of the current batch at :math:`\theta_t = \theta_{t-1} - \beta g_{t-1}`,
    `grad` its meta-gradient and `before` the previous meta-gradient, both `(Q,)`.
    (Baydin, Cornish, Rubio, Schmidt & Wood, 2018, https://arxiv.org/abs/1703.04782).

    >>> outer_hypergradient(torch.tensor([1.0, 2.0]), torch.tensor([3.0, 1.0]))
    tensor(-5.)
    """
    return -(grad @ before)


def _alpha(problem: Problem) -> Rates:
    P = problem.layouts.phi.size
    return lambda theta, k: torch.split(theta, [len(theta) - 1, 1])[1].expand(P)
