"""The proximal inner problem: lambda / 2 |phi - phi_0|^2 is added to the inner loss."""

from __future__ import annotations

from torch import Tensor

from metabench.problems.problem import Problem
from metabench.problems.tasks import Data


def proximal(problem: Problem, proximal_strength: float) -> Problem:
    """Return the problem with proximal_strength / 2 |phi - init(theta)|^2 in its inner loss."""

    def inner_loss(phi: Tensor, theta: Tensor, data: Data) -> Tensor:
        away = phi - problem.init(theta)
        return problem.inner_loss(phi, theta, data) + proximal_strength / 2 * (away @ away)

    return problem if proximal_strength == 0 else problem._replace(inner_loss=inner_loss)
