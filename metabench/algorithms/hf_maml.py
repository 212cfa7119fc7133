"""HF-MAML: MAML with Hessian-vector products by finite differences of gradients."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from metabench.algorithms.adapt import adapt, inner_batch
from metabench.algorithms.base import Algorithm, MetaGrad, through_init
from metabench.algorithms.inner_optimizers.inner_optimizer import Slots
from metabench.algorithms.maml import MAML
from metabench.autodiff import derivatives
from metabench.problems.problem import Problem
from metabench.problems.tasks import Task, tree_map
from metabench.settings.errors import InvalidInput


@dataclass(frozen=True)
class HFMAML(Algorithm):
    r"""MAML whose Hessian-vector products are central differences of gradients.

    :math:`H v \approx |v| \, (\nabla f(\phi + \delta u) - \nabla f(\phi - \delta u)) / 2 \delta`
    with :math:`u = v / |v|`, so delta is a length; the paper displaces by its delta times v. The
    truncation error decreases as :math:`\delta^2` where f has a Lipschitz third derivative, the
    round-off error grows as 1 / delta; neither holds at kinks (ReLU). The Hessian is estimated on
    the support examples of the inner loop; the theory assumes independent ones.
    (Fallah, Mokhtari & Ozdaglar, 2020, https://arxiv.org/abs/1908.10400).

    >>> import metabench as mb
    >>> import torch
    >>> family = mb.Quadratic(dim=4)
    >>> algorithm = mb.HFMAML(steps=2, inner_optimizer=mb.SGD(rate=0.1))
    >>> hf = mb.Subject(family.problem(), family.sample, algorithm, family.theta(seed=0))
    >>> exact = hf.with_algorithm(algorithm.reference())
    >>> address = mb.Address.fresh(0, 3)
    >>> found, expected = (each.meta_gradients(address, seed=0).grad for each in (hf, exact))
    >>> torch.allclose(found, expected)
    True
    """

    delta: float = 1e-3  # length of the displacement [parameter]

    def __post_init__(self) -> None:
        """Validate a positive, finite delta."""
        super().__post_init__()
        if not 0 < self.delta < float("inf"):
            raise InvalidInput(f"delta is {self.delta}; it must be positive and finite.")

    def __call__(self, problem: Problem, theta: Tensor, task: Task) -> MetaGrad:
        """Compute the Hessian-free meta-gradient `(Q,)` of one task at theta `(Q,)`."""
        iterates = adapt(self.inner_optimizer, self.steps, problem, theta, task)
        loss, v, theta_bar = derivatives.value_and_gradients(
            problem.outer_loss, iterates.last, theta, task.query
        )
        slots_bar = tree_map(torch.zeros_like, iterates.slots)
        for k in reversed(range(self.steps)):
            phi, slots = iterates.states[k]
            v, slots_bar, through = self._vjp(problem, theta, task, k, phi, slots, (v, slots_bar))
            theta_bar = theta_bar + through
        return MetaGrad(through_init(problem, theta, v) + theta_bar, loss, iterates.last, {})

    def reference(self) -> Algorithm:
        """Return MAML: the exact gradient of the same query loss."""
        return MAML(self.steps, self.inner_optimizer, self.batch)

    def objective(self, problem: Problem, theta: Tensor, task: Task) -> Tensor:
        """Compute the query loss `()` after adaptation."""
        phi = adapt(self.inner_optimizer, self.steps, problem, theta, task).last
        return problem.outer_loss(phi, theta, task.query)

    def _vjp(
        self,
        problem: Problem,
        theta: Tensor,
        task: Task,
        k: int,
        phi: Tensor,
        slots: Slots,
        cotangents: tuple[Tensor, Slots],
    ) -> tuple[Tensor, Slots, Tensor]:
        """Backpropagate through step k: exactly through the optimizer, by differences otherwise."""
        data = inner_batch(problem, task, k)
        gradient = derivatives.gradient(problem.inner_loss, phi, theta, data)
        _, vjp = derivatives.vjp_of(
            lambda g, p, s: self.inner_optimizer(g, p, s, k), gradient, phi, slots
        )
        v, phi_bar, slots_bar = vjp(cotangents)
        size = v.norm()
        u = v / torch.where(size > 0, size, 1)
        _, ahead, ahead_theta = derivatives.value_and_gradients(
            problem.inner_loss, phi + self.delta * u, theta, data
        )
        _, behind, behind_theta = derivatives.value_and_gradients(
            problem.inner_loss, phi - self.delta * u, theta, data
        )
        scale = size / (2 * self.delta)
        through = scale * (ahead_theta - behind_theta)
        return phi_bar + scale * (ahead - behind), slots_bar, through
