"""HF-MAML: can differences of gradients stand in for every Hessian?"""

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
    with :math:`u = v / |v|`, so that delta is a length; the paper displaces by its delta times v.
    The error falls as :math:`\delta^2` where f has a Lipschitz third derivative, and rises again
    as round-off over delta; kinks (ReLU) break both. The Hessian is that of the inner loop's own
    support examples, for which the theory asks independent ones.
    (Fallah, Mokhtari & Ozdaglar, 2020, https://arxiv.org/abs/1908.10400).
    """

    delta: float = 1e-3  # length of the displacement [parameter]

    def __post_init__(self) -> None:
        """Refuse a displacement that isn't one."""
        super().__post_init__()
        if not 0 < self.delta < float("inf"):
            raise InvalidInput(f"delta is {self.delta}; it must be positive and finite.")

    def __call__(self, problem: Problem, theta: Tensor, task: Task) -> MetaGrad:
        """Give the Hessian-free meta-gradient `(Q,)` of one task at theta `(Q,)`."""
        path = adapt(self.inner_optimizer, self.steps, problem, theta, task)
        loss, v, theta_bar = derivatives.value_and_gradients(
            problem.outer_loss, path.last, theta, task.query
        )
        slots_bar = tree_map(torch.zeros_like, path.slots)
        for k in reversed(range(self.steps)):
            phi, slots = path.states[k]
            v, slots_bar, through = self._back(problem, theta, task, k, phi, slots, (v, slots_bar))
            theta_bar = theta_bar + through
        return MetaGrad(through_init(problem, theta, v) + theta_bar, loss, path.last, {})

    def reference(self) -> Algorithm:
        """Give the exact gradient of the same query loss."""
        return MAML(self.steps, self.inner_optimizer, self.batch)

    def objective(self, problem: Problem, theta: Tensor, task: Task) -> Tensor:
        """Give the query loss `()` after adaptation."""
        phi = adapt(self.inner_optimizer, self.steps, problem, theta, task).last
        return problem.outer_loss(phi, theta, task.query)

    def _back(
        self,
        problem: Problem,
        theta: Tensor,
        task: Task,
        k: int,
        phi: Tensor,
        slots: Slots,
        cotangents: tuple[Tensor, Slots],
    ) -> tuple[Tensor, Slots, Tensor]:
        """Carry cotangents back over step k: through the optimizer exactly, then by differences."""
        data = inner_batch(task, k)
        slope = derivatives.gradient(problem.inner_loss, phi, theta, data)
        _, pull = derivatives.vjp_of(
            lambda g, p, s: self.inner_optimizer(g, p, s, k), slope, phi, slots
        )
        v, phi_bar, slots_bar = pull(cotangents)
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
