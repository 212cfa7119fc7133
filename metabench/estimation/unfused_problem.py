"""A subject's problem without fused norms, whose third derivatives torch computes wrongly."""

from __future__ import annotations

import torch
from torch import Tensor

from metabench.algorithms.base import Algorithm
from metabench.estimation.estimator_on_tasks import Subject
from metabench.estimation.vectorization import first_task
from metabench.problems.problem import Problem
from metabench.problems.tasks import Address, Task
from metabench.settings.errors import InvalidInput


def unfused_problem(subject: Subject, algorithm: Algorithm) -> Problem | None:
    """Return the problem with unfused norms; None where it has fused norms and no unfused form.

    Raises:
        InvalidInput: if its loss on the first task is another than that of the problem.
    """
    problem = subject.problem
    root = problem.base or problem
    if root.unfused is None:
        return None if problem.fused else problem
    plain = root.unfused()
    if problem.base:
        plain, _ = algorithm.extend(plain, subject.theta[: root.layouts.theta.size])
    _require_same_loss(problem, plain, subject.theta, first_task(subject.draw(FIRST, 0)))
    return plain


FIRST = Address.fresh(0, 1)


def _require_same_loss(problem: Problem, plain: Problem, theta: Tensor, task: Task) -> None:
    """Refuse a problem whose loss changes with the norms' form by more than round-off."""
    with torch.no_grad():
        one, other = (of.outer_loss(of.init(theta), theta, task.query) for of in (problem, plain))
    tolerance = torch.finfo(theta.dtype).eps ** 0.5
    if torch.isfinite(one) and not torch.isclose(one, other, rtol=tolerance, atol=tolerance):
        raise InvalidInput(
            f"With norms computed by plain operations the loss of the first task is {other:.6g} "
            f"instead of {one:.6g}, so third derivatives would be those of another network. "
            "Give the module the same norms in forward, or replace them: metabench.safe_norms(net)."
        )
