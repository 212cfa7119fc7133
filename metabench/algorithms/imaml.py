"""Implicit MAML: what is the meta-gradient at the inner optimum, whatever path led there?"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import torch
from torch import Tensor

from metabench.algorithms.adapt import NO_BACKWARD, adapt
from metabench.algorithms.base import Algorithm, Implicit, MetaGrad
from metabench.autodiff import derivatives
from metabench.linalg.solvers.cg import CG
from metabench.linalg.solvers.solver import Solver
from metabench.problems.problem import Problem
from metabench.problems.proximal import proximal
from metabench.problems.tasks import Task
from metabench.settings.errors import InvalidInput


@dataclass(frozen=True)
class IMAML(Algorithm):
    r"""Implicit gradient at the inner optimum, one linear solve instead of the path.

    The inner loop minimizes :math:`G = f(\phi, \theta) + \tfrac{\lambda}{2} |\phi - \phi_0|^2` with
    :math:`\phi_0` = init(theta), and the meta-gradient is
    :math:`F_\theta - G_{\theta\phi} G_{\phi\phi}^{-1} F_\phi`, exact where phi_K is G's minimum; at
    lambda = 0 it is that of any inner loss that depends on theta. Notes: `slope`, |grad G| at
    phi_K, 0 at the minimum; `residual`, `products` and `curvature` of the solve, the last positive
    at a minimum.
    (Rajeswaran, Finn, Kakade & Levine, 2019, https://arxiv.org/abs/1909.04630); for lambda = 0,
    Lorraine, Vicol & Duvenaud (2020), https://arxiv.org/abs/1911.02590.
    """

    proximal_strength: float = 2.0  # lambda of lambda/2 |phi - init(theta)|^2; 0: none [curvature]
    solver: Solver = field(default_factory=CG)  # of the system: cg, minres, neumann, nystrom, dense

    def __post_init__(self) -> None:
        """Refuse a pull that pushes."""
        super().__post_init__()
        if not 0 <= self.proximal_strength < math.inf:
            raise InvalidInput(
                f"proximal_strength is {self.proximal_strength}; "
                "it must be finite and not negative."
            )

    def __call__(self, problem: Problem, theta: Tensor, task: Task) -> MetaGrad:
        """Give the implicit meta-gradient `(Q,)` of one task at theta `(Q,)`."""
        problem = self.inner(problem)
        phi = adapt(self.inner_optimizer, self.steps, problem, theta, task, NO_BACKWARD).last
        loss, in_phi, direct = derivatives.value_and_gradients(
            problem.outer_loss, phi, theta, task.query
        )
        slope, products = derivatives.gradient_with_products(
            problem.inner_loss, phi, theta, task.support
        )
        solved = self.solver(lambda v: products(v)[0], in_phi)
        notes = {
            "gradient_norm": slope.norm(),
            "residual": solved.residual,
            "products": solved.steps,
            "curvature": solved.curvature,
        }
        return MetaGrad(direct - products(solved.x)[1], loss, phi, notes)

    def inner(self, problem: Problem) -> Problem:
        """Add the pull to the inner loss."""
        return proximal(problem, self.proximal_strength)

    def implicit(self) -> Implicit:
        """Give the pull and the solver."""
        return Implicit(self.proximal_strength, self.solver)

    def objective(self, problem: Problem, theta: Tensor, task: Task) -> Tensor:
        """Give the query loss `()` after adaptation, which takes no solve."""
        phi = adapt(
            self.inner_optimizer, self.steps, proximal(problem, self.proximal_strength), theta, task
        ).last
        return problem.outer_loss(phi, theta, task.query)

    def check(self, problem: Problem, theta: Tensor, task: Task) -> None:
        """Refuse an inner objective whose minimum doesn't depend on theta."""
        problem = self.inner(problem)
        start = problem.init(theta)
        generator = torch.Generator().manual_seed(0)
        away, along = torch.randn(2, len(start), generator=generator).to(start)
        # away from the start, where a penalty of phi may have no slope yet
        _, products = derivatives.gradient_with_products(
            problem.inner_loss, start + away, theta, task.support
        )
        if not products(along)[1].any():
            raise InvalidInput(
                "The inner optimum doesn't depend on theta, so its implicit gradient is zero: "
                "theta enters neither the inner loss nor, at strength "
                f"{self.proximal_strength}, a pull. Give a pull towards the initialization, "
                "--set algo.proximal_strength=2, or use maml."
            )
