"""Bayesian MAML: several particles adapt jointly by Stein variational gradient descent."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from metabench.algorithms.adapt import NO_BACKWARD, StepFunction, backpropagate, inner_batch, unroll
from metabench.algorithms.base import Algorithm, MetaGrad, through_init
from metabench.algorithms.inner_optimizers.inner_optimizer import Slots
from metabench.autodiff import derivatives
from metabench.problems.parameter_layout import Layout, Layouts
from metabench.problems.problem import Problem
from metabench.problems.tasks import Data, Loss, Task, tree_map
from metabench.settings.errors import InvalidInput


@dataclass(frozen=True)
class BMAML(Algorithm):
    r"""Bayesian MAML: particles adapted by Stein variational steps, and the chaser loss.

    phi is M particles, flat `(M P,)`. An inner step is :math:`\phi^m \leftarrow \phi^m + \alpha \,
    \tfrac1M \sum_j [-k(\phi^j, \phi^m) \nabla f(\phi^j) / \tau + \nabla_{\phi^j}
    k(\phi^j, \phi^m)]`, which approximates the posterior of density proportional to :math:`e^{-f /
    \tau}`, with a Gaussian kernel of median width. The chaser takes K steps on the support set, the
    leader `leader_steps` more on support and query sets; the gradient is that of :math:`\tfrac12
    \sum_m |\phi^m_\text{chaser} - \phi^m_\text{leader}|^2` with the leader held constant. `loss` is
    the mean query loss of the particles. The initial values of M-1 further particles are appended
    to theta as parts `particle.M.NAME`. One particle is plain adaptation.
    (Kim, Yoon, Dia, Kim, Bengio & Ahn, 2018, https://arxiv.org/abs/1806.03836).

    >>> import metabench as mb
    >>> family = mb.Quadratic(dim=4)
    >>> algorithm = mb.BMAML(steps=2, particles=3)
    >>> subject = mb.Subject(family.problem(), family.sample, algorithm, family.theta(seed=0))
    >>> len(subject.theta)  # 3 particles of 4 parameters
    12
    """

    particles: int = 5  # M, particles that adapt jointly [particles]
    leader_steps: int = 1  # steps of the leader beyond the chaser's [steps]
    temperature: float = 1.0  # tau; the loss over tau is the negative log posterior [loss]
    spread: float = 0.01  # standard deviation of initial particles around the first [parameter]

    version: ClassVar[int] = 2

    def __post_init__(self) -> None:
        """Validate particles >= 1, leader_steps >= 1, temperature > 0."""
        super().__post_init__()
        if self.particles < 1:
            raise InvalidInput(f"particles is {self.particles}; it must be at least 1.")
        if self.leader_steps < 1:
            raise InvalidInput(f"leader_steps is {self.leader_steps}; it must be at least 1.")
        if not self.temperature > 0:
            raise InvalidInput(f"temperature is {self.temperature}; it must be positive.")

    def extend(self, problem: Problem, theta: Tensor) -> tuple[Problem, Tensor]:
        """Append the initial values of further particles to theta; phi becomes all particles."""
        one, M = problem.layouts.phi, self.particles
        first = problem.init(theta)
        # numpy draws: torch's own numbers differ between dtypes
        away = np.random.default_rng(0).standard_normal((M - 1, one.size))
        others = first + self.spread * torch.from_numpy(away).to(theta)
        parts = {
            f"particle.{m + 2}.{name}": value
            for m, flat in enumerate(others)
            for name, value in one.unflatten(flat).items()
        }
        longer, started = problem.appended(theta, parts)
        names = tuple(f"particle.{m + 1}.{name}" for m in range(M) for name in one.names)
        all_particles = Layout(names, one.shapes * M)
        Q = len(theta)

        def mean(loss: Loss) -> Loss:
            def over_particles(phi: Tensor, theta: Tensor, data: Data) -> Tensor:
                each = [loss(particle, theta, data) for particle in phi.view(M, -1)]
                return torch.stack(each).mean()

            return over_particles

        longer = longer._replace(
            init=lambda theta: torch.cat([problem.init(theta[:Q]), theta[Q:]]),
            inner_loss=mean(longer.inner_loss),
            outer_loss=mean(longer.outer_loss),
            accuracy=longer.accuracy and mean(longer.accuracy),
            features=None,  # they would be those of one particle
            layouts=Layouts(all_particles, longer.layouts.theta),
            base=problem,
        )
        return longer, started

    def __call__(self, problem: Problem, theta: Tensor, task: Task) -> MetaGrad:
        """Compute the gradient `(Q,)` of one task's chaser loss at theta `(Q,)`."""
        chaser = unroll(
            self._chaser_steps(problem, task), self.inner_optimizer, problem.init(theta), theta
        )
        both_sets = tree_map(lambda *sets: torch.cat(sets), task.support, task.query)
        leader, slots = chaser.last, chaser.slots
        for k in range(self.steps, self.steps + self.leader_steps):
            leader, slots = self._step_function(problem, both_sets, k)(leader, slots, theta)
        adjoint = backpropagate(chaser, theta, chaser.last - leader)
        grad = through_init(problem, theta, adjoint.phi) + adjoint.theta
        loss = problem.outer_loss(chaser.last, theta, task.query)
        return MetaGrad(grad, loss, chaser.last, {"norms": adjoint.norms})

    def objective(self, problem: Problem, theta: Tensor, task: Task) -> Tensor:
        """Compute the mean query loss `()` of the particles after adaptation."""
        return problem.outer_loss(self.adapted(problem, theta, task), theta, task.query)

    def adapted(self, problem: Problem, theta: Tensor, task: Task) -> Tensor:
        """Compute the particles after the chaser's steps, `(M P,)`."""
        phi, steps = problem.init(theta), self._chaser_steps(problem, task)
        return unroll(steps, self.inner_optimizer, phi, theta, NO_BACKWARD).last

    def loop(self, problem: Problem) -> None:
        """Return None: a Stein variational step is no step on the inner loss."""

    def differentiated(self, problem: Problem, theta: Tensor, task: Task) -> Tensor:
        """Return NaN: with the leader held constant, no function of theta has this gradient."""
        return theta.new_full((), math.nan)

    def _chaser_steps(self, problem: Problem, task: Task) -> list[StepFunction]:
        return [
            self._step_function(problem, inner_batch(problem, task, k), k)
            for k in range(self.steps)
        ]

    def _step_function(self, problem: Problem, data: Data, k: int) -> StepFunction:
        """Return Stein variational step k of all particles."""
        M = self.particles

        def step(phi: Tensor, slots: Slots, theta: Tensor) -> tuple[Tensor, Slots]:
            # the inner loss is a mean over particles: a particle's gradient is M times its part
            gradients = M * derivatives.gradient(problem.inner_loss, phi, theta, data).view(M, -1)
            direction = stein_direction(phi.view(M, -1), -gradients / self.temperature)
            return self.inner_optimizer(-direction.reshape(-1), phi, slots, k)

        return step


def stein_direction(particles: Tensor, scores: Tensor) -> Tensor:
    r"""Compute the Stein variational direction `(M, P)` of M particles.

    :math:`\tfrac1M \sum_j [k(\phi^j, \phi^m) s_j + \nabla_{\phi^j} k(\phi^j, \phi^m)]` with s =
    `scores` the gradients of the log density, `(M, P)`, :math:`k = e^{-|\phi^j - \phi^m|^2 / h}`
    and h the median squared distance over log (M + 1).
    (Liu & Wang, 2016, https://arxiv.org/abs/1608.04471).
    """
    M = len(particles)
    if M == 1:
        return scores
    # products of (M, M) and (M, P), never (M, M, P); centered against cancellation
    centered = particles - particles.mean(0)
    gram = centered @ centered.T
    squares = gram.diagonal()
    squared = (squares[:, None] + squares[None, :] - 2 * gram).clamp(min=0)
    rows, columns = torch.triu_indices(M, M, 1)
    # log(M + 1): log(M) is small for M = 2; 1e-12 for coinciding particles
    h = squared[rows, columns].median() / math.log(M + 1) + 1e-12
    k = (-squared / h).exp()
    repulsion = (-2 / h) * (k.T @ centered - k.sum(0)[:, None] * centered)
    return (k.T @ scores + repulsion) / M
