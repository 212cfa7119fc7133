"""Alpha MAML: can both learning rates be adapted online instead of tuned?"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from metabench.algorithms.adapt import Rates, adapt
from metabench.algorithms.backpropagation import unrolled_meta_gradient
from metabench.algorithms.base import Algorithm, CustomUpdates, MetaGrad
from metabench.problems.problem import Problem
from metabench.problems.tasks import Task
from metabench.settings.errors import InvalidInput


@dataclass(frozen=True)
class AlphaMAML(Algorithm):
    r"""MAML whose inner rate is learned by its hypergradient, and whose outer rate can be.

    theta is followed by alpha, part `rate`, from `inner_optimizer.rate` on; its entry of the
    meta-gradient is :math:`\partial F(\phi_K) / \partial \alpha`,
    :math:`-\sum_k v_{k+1}^\top \nabla f(\phi_k)` for plain descent. In training alpha descends
    along it at `alpha_rate`, and the outer rate beta along `outer_hypergradient` at `beta_rate`,
    whatever the outer optimizer; the paper's is sgd. The defaults of these two are metabench's own,
    small ones; sweep them by powers of ten.
    (Behl, Baydin & Torr, 2019, https://arxiv.org/abs/1905.07435).
    """

    alpha_rate: float = 1e-5  # of alpha's own plain descent; 0 leaves it as it is [alpha^2/loss]
    beta_rate: float = 1e-6  # of the outer rate's descent; 0 leaves it as it is [beta^2/loss]

    def __post_init__(self) -> None:
        """Refuse rates that can't be."""
        super().__post_init__()
        for name in ("alpha_rate", "beta_rate"):
            if not 0 <= getattr(self, name) < math.inf:
                raise InvalidInput(
                    f"{name} is {getattr(self, name)}; it must be finite, 0 or more."
                )

    @property
    def exact(self) -> bool:
        """Whether these settings give the gradient itself: in alpha, too."""
        return True

    def extend(self, problem: Problem, theta: Tensor) -> tuple[Problem, Tensor]:
        """Append the inner rate, one number."""
        return problem.appended(theta, {"rate": theta.new_full((1,), self.inner_optimizer.rate)})

    def custom_updates(self, problem: Problem) -> CustomUpdates:
        """Say that alpha and the outer rate descend along their hypergradients."""
        return CustomUpdates(plain_rates={"rate": self.alpha_rate}, rate=self.beta_rate)

    def __call__(self, problem: Problem, theta: Tensor, task: Task) -> MetaGrad:
        """Give the meta-gradient `(Q,)` of one task at theta `(Q,)`, alpha's entry last."""
        return unrolled_meta_gradient(self._unit(), problem, theta, task, rates=_alpha(problem))

    def objective(self, problem: Problem, theta: Tensor, task: Task) -> Tensor:
        """Give the query loss `()` after adaptation at the learned rate."""
        unit = self._unit()
        path = adapt(unit.inner_optimizer, unit.steps, problem, theta, task, rates=_alpha(problem))
        return problem.outer_loss(path.last, theta, task.query)

    def _unit(self) -> AlphaMAML:
        return replace(self, inner_optimizer=replace(self.inner_optimizer, rate=1.0))


def outer_hypergradient(grad: Tensor, before: Tensor) -> Tensor:
    r"""Give :math:`\partial L_t / \partial \beta = -g_t^\top g_{t-1}`, `()`.

    L_t is the outer loss of the batch at hand at :math:`\theta_t = \theta_{t-1} - \beta g_{t-1}`,
    `grad` its meta-gradient there and `before` the one that was stepped along, both `(Q,)`.
    (Baydin, Cornish, Rubio, Schmidt & Wood, 2018, https://arxiv.org/abs/1703.04782).

    >>> outer_hypergradient(torch.tensor([1.0, 2.0]), torch.tensor([3.0, 1.0]))
    tensor(-5.)
    """
    return -(grad @ before)


def _alpha(problem: Problem) -> Rates:
    P = problem.layouts.phi.size
    return lambda theta, k: torch.split(theta, [len(theta) - 1, 1])[1].expand(P)
