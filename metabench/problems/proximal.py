"""The proximal inner problem: adaptation is pulled back to where it began."""

from __future__ import annotations

from torch import Tensor

from metabench.problems.problem import Problem
from metabench.problems.tasks import Data


def proximal(problem: Problem, proximal_strength: float) -> Problem:
    """Add a pull of phi towards init(theta) to the inner loss."""

    def inner_loss(phi: Tensor, theta: Tensor, data: Data) -> Tensor:
        away = phi - problem.init(theta)
        return problem.inner_loss(phi, theta, data) + proximal_strength / 2 * (away @ away)

    return problem if proximal_strength == 0 else problem._replace(inner_loss=inner_loss)
