"""How large an inner rate does each task's loss take? By curvature, and by trying."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from metabench.algorithms.adapt import NO_BACKWARD, adapt
from metabench.algorithms.inner_optimizers.inner_optimizer import InnerOptimizer
from metabench.autodiff import derivatives
from metabench.linalg.lanczos import lanczos_extremes
from metabench.problems.problem import Problem
from metabench.problems.tasks import Task

TOLERANCE = 1e-3  # relative, of an eigenvalue
PRODUCTS = 60  # most Hessian products of a search


class Descent(NamedTuple):
    """What an inner loop made of its own loss."""

    first: Tensor  # inner loss at phi_0, ()
    last: Tensor  # at phi_K, ()
    outer: Tensor  # query loss at phi_K, ()


def extreme_eigenvalues(
    problem: Problem, theta: Tensor, phis: Tensor, tasks: Task
) -> tuple[Tensor, Tensor]:
    """Give the least and the largest eigenvalue of each task's inner Hessian at phi, `(T,)` each.

    NaN where phi isn't finite.
    """
    good = torch.isfinite(phis).all(1)
    times = derivatives.per_task_hvp(
        problem.inner_loss, torch.where(good[:, None], phis, 0), theta, tasks.support
    )
    generator = torch.Generator().manual_seed(0)
    start = torch.randn(1, phis.shape[1], generator=generator, dtype=torch.float64).to(phis)
    found = lanczos_extremes(times, start.expand_as(phis).clone(), TOLERANCE, PRODUCTS)
    none = torch.full_like(found.smallest, torch.nan)
    return torch.where(good, found.smallest, none), torch.where(good, found.largest, none)


def loss_decrease(
    step: InnerOptimizer, steps: int, problem: Problem, theta: Tensor, task: Task
) -> Descent:
    """Walk K inner steps of one task, and tell the losses before and after."""
    phi = adapt(step, steps, problem, theta, task, NO_BACKWARD).last
    first = problem.inner_loss(problem.init(theta), theta, task.support)
    return Descent(
        first,
        problem.inner_loss(phi, theta, task.support),
        problem.outer_loss(phi, theta, task.query),
    )
