"""Implicit MAML: the meta-gradient at the inner optimum, by the implicit function theorem."""

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
    r"""Implicit gradient at the inner optimum: one linear solve instead of backpropagation.

    The inner loop minimizes :math:`G = f(\phi, \theta) + \tfrac{\lambda}{2} |\phi - \phi_0|^2` with
    :math:`\phi_0` = init(theta). The meta-gradient is
    :math:`F_\theta - G_{\theta\phi} G_{\phi\phi}^{-1} F_\phi`, exact where phi_K minimizes G;
    lambda = 0 is for inner losses that depend on theta themselves. Notes: `gradient_norm`, |grad G|
    at phi_K, 0 at the minimum; `residual`, `products` and `curvature` of the linear solve, the
    curvature being positive at a minimum.
    (Rajeswaran, Finn, Kakade & Levine, 2019, https://arxiv.org/abs/1909.04630); for lambda = 0,
    Lorraine, Vicol & Duvenaud (2020), https://arxiv.org/abs/1911.02590.

    >>> import metabench as mb
    >>> family = mb.Quadratic(dim=4)
    >>> algorithm = mb.IMAML(steps=20, inner_optimizer=mb.SGD(rate=0.3), solver=mb.CG(steps=4))
    >>> subject = mb.Subject(family.problem(), family.sample, algorithm, family.theta(seed=0))
    >>> found = subject.meta_gradients(mb.Address.fresh(0, 3), seed=0)
    >>> bool((found.notes["residual"] < 1e-5).all()), bool((found.notes["curvature"] > 0).all())
    (True, True)
    """

    proximal_strength: float = 2.0  # lambda of lambda/2 |phi - init(theta)|^2; 0: none [curvature]
    solver: Solver = field(default_factory=CG)  # linear solver: cg, minres, neumann, nystrom, dense

    def __post_init__(self) -> None:
        """Validate a finite proximal strength >= 0."""
        super().__post_init__()
        if not 0 <= self.proximal_strength < math.inf:
            raise InvalidInput(
                f"proximal_strength is {self.proximal_strength}; "
                "it must be finite and not negative."
            )

    def __call__(self, problem: Problem, theta: Tensor, task: Task) -> MetaGrad:
        """Compute the implicit meta-gradient `(Q,)` of one task at theta `(Q,)`."""
        problem = self.inner(problem)
        phi = adapt(self.inner_optimizer, self.steps, problem, theta, task, NO_BACKWARD).last
        loss, in_phi, direct = derivatives.value_and_gradients(
            problem.outer_loss, phi, theta, task.query
        )
        gradient, products = derivatives.gradient_with_products(
            problem.inner_loss, phi, theta, task.support
        )
        solved = self.solver(lambda v: products(v)[0], in_phi)
        notes = {
            "gradient_norm": gradient.norm(),
            "residual": solved.residual,
            "products": solved.steps,
            "curvature": solved.curvature,
        }
        return MetaGrad(direct - products(solved.x)[1], loss, phi, notes)

    def inner(self, problem: Problem) -> Problem:
        """Return the problem with the proximal term added to the inner loss."""
        return proximal(problem, self.proximal_strength)

    def implicit(self) -> Implicit:
        """Return the proximal strength and the solver."""
        return Implicit(self.proximal_strength, self.solver)

    def objective(self, problem: Problem, theta: Tensor, task: Task) -> Tensor:
        """Compute the query loss `()` after adaptation, without the linear solve."""
        phi = adapt(
            self.inner_optimizer, self.steps, proximal(problem, self.proximal_strength), theta, task
        ).last
        return problem.outer_loss(phi, theta, task.query)

    def check(self, problem: Problem, theta: Tensor, task: Task) -> None:
        """Reject an inner objective whose minimum does not depend on theta."""
        problem = self.inner(problem)
        start = problem.init(theta)
        generator = torch.Generator().manual_seed(0)
        offset, direction = torch.randn(2, len(start), generator=generator).to(start)
        # not at the start itself, where the gradient of a penalty on phi may vanish
        _, products = derivatives.gradient_with_products(
            problem.inner_loss, start + offset, theta, task.support
        )
        if not products(direction)[1].any():
            raise InvalidInput(
                "The inner optimum doesn't depend on theta, so its implicit gradient is zero: "
                "theta enters neither the inner loss nor, with proximal_strength "
                f"{self.proximal_strength}, a proximal term. Add a proximal term, "
                "--set algo.proximal_strength=2, or use maml."
            )
