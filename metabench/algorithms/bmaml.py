"""Bayesian MAML: what if not one phi adapts, but a flock of particles that keep apart?"""

from __future__ import annotations

import math
from dataclasses import dataclass

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
    r"""Stein variational inner loop and the chaser loss.

    phi is M particles, flat `(M P,)`, which :math:`\phi^m \leftarrow \phi^m + \alpha \, \tfrac1M
    \sum_j [-k(\phi^j, \phi^m) \nabla f(\phi^j) / \tau + \nabla_{\phi^j} k(\phi^j, \phi^m)]` moves
    along the posterior of density :math:`e^{-f / \tau}`, with a Gaussian kernel of median width.
    The chaser takes K such steps on the support set, the leader `leader_steps` more on support and
    query; the gradient is that of
    :math:`\sum_m |\phi^m_\text{chaser} - \phi^m_\text{leader}|^2`, the leader held fixed, times
    1/2. `loss` is the particles' mean query loss. theta is followed by M-1 more initial particles,
    parts `particle.M.NAME`. One particle is plain adaptation.
    (Kim, Yoon, Dia, Kim, Bengio & Ahn, 2018, https://arxiv.org/abs/1806.03836).
    """

    particles: int = 5  # M, how many adapt together [particles]
    leader_steps: int = 1  # further steps of the leader [steps]
    temperature: float = 1.0  # tau, scale of the loss as a negative log posterior [loss]
    spread: float = 0.01  # how far further particles start from the first, entrywise [parameter]

    def __post_init__(self) -> None:
        """Refuse a flock of none, a leader who follows, a temperature that isn't."""
        super().__post_init__()
        if self.particles < 1:
            raise InvalidInput(f"particles is {self.particles}; it must be at least 1.")
        if self.leader_steps < 1:
            raise InvalidInput(
                f"leader_steps is {self.leader_steps}; the leader must be at least 1 step ahead."
            )
        if not self.temperature > 0:
            raise InvalidInput(f"temperature is {self.temperature}; it must be positive.")

    def extend(self, problem: Problem, theta: Tensor) -> tuple[Problem, Tensor]:
        """Append the initial values of all particles but the first, and let phi be all of them."""
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
        flock = Layout(names, one.shapes * M)
        Q = len(theta)

        def mean(loss: Loss) -> Loss:
            def over_particles(phi: Tensor, theta: Tensor, data: Data) -> Tensor:
                each = [loss(own, theta, data) for own in phi.view(M, -1)]
                return torch.stack(each).mean()

            return over_particles

        longer = longer._replace(
            init=lambda theta: torch.cat([problem.init(theta[:Q]), theta[Q:]]),
            inner_loss=mean(longer.inner_loss),
            outer_loss=mean(longer.outer_loss),
            accuracy=longer.accuracy and mean(longer.accuracy),
            features=None,  # of which particle?
            layouts=Layouts(flock, longer.layouts.theta),
            base=problem,
        )
        return longer, started

    def __call__(self, problem: Problem, theta: Tensor, task: Task) -> MetaGrad:
        """Give the chaser loss's gradient `(Q,)` of one task at theta `(Q,)`, further particles."""
        chasing = [self._stage(problem, inner_batch(task, k), k) for k in range(self.steps)]
        path = unroll(chasing, self.inner_optimizer, problem.init(theta), theta)
        everything = tree_map(lambda *sets: torch.cat(sets), task.support, task.query)
        leader, slots = path.last, path.slots
        for k in range(self.steps, self.steps + self.leader_steps):
            leader, slots = self._stage(problem, everything, k)(leader, slots, theta)
        adjoint = backpropagate(path, theta, path.last - leader)
        grad = through_init(problem, theta, adjoint.phi) + adjoint.theta
        loss = problem.outer_loss(path.last, theta, task.query)
        return MetaGrad(grad, loss, path.last, {"norms": adjoint.norms})

    def objective(self, problem: Problem, theta: Tensor, task: Task) -> Tensor:
        """Give the mean query loss `()` of the particles after adaptation."""
        chasing = [self._stage(problem, inner_batch(task, k), k) for k in range(self.steps)]
        path = unroll(chasing, self.inner_optimizer, problem.init(theta), theta, NO_BACKWARD)
        return problem.outer_loss(path.last, theta, task.query)

    def differentiated(self, problem: Problem, theta: Tensor, task: Task) -> Tensor:
        """Give NaN: with the leader held fixed, no function of theta has this gradient."""
        return theta.new_full((), math.nan)

    def _stage(self, problem: Problem, data: Data, k: int) -> StepFunction:
        """Give one Stein step of all particles."""
        M = self.particles

        def forward(phi: Tensor, slots: Slots, theta: Tensor) -> tuple[Tensor, Slots]:
            # the inner loss is a mean over particles, so each one's own slope is M times its part
            slopes = M * derivatives.gradient(problem.inner_loss, phi, theta, data).view(M, -1)
            along = stein_direction(phi.view(M, -1), -slopes / self.temperature)
            return self.inner_optimizer(-along.reshape(-1), phi, slots, k)

        return forward


def stein_direction(particles: Tensor, scores: Tensor) -> Tensor:
    r"""Give the direction `(M, P)` in which particles come closest to a density in one step.

    :math:`\tfrac1M \sum_j [k(\phi^j, \phi^m) s_j + \nabla_{\phi^j} k(\phi^j, \phi^m)]` with s the
    gradients of the log density, :math:`k = e^{-|\phi^j - \phi^m|^2 / h}` and h the median squared
    distance over log (M + 1).
    (Liu & Wang, 2016, https://arxiv.org/abs/1608.04471).
    """
    M = len(particles)
    if M == 1:
        return scores
    # by products of (M, M) and (M, P), never (M, M, P); centered, so that no digits cancel
    centered = particles - particles.mean(0)
    gram = centered @ centered.T
    squares = gram.diagonal()
    squared = (squares[:, None] + squares[None, :] - 2 * gram).clamp(min=0)
    rows, columns = torch.triu_indices(M, M, 1)
    # log(M + 1): that of M is next to nothing for two; 1e-12 for particles at one place
    h = squared[rows, columns].median() / math.log(M + 1) + 1e-12
    k = (-squared / h).exp()
    repulsion = (-2 / h) * (k.T @ centered - k.sum(0)[:, None] * centered)
    return (k.T @ scores + repulsion) / M
