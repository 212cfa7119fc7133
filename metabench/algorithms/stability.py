"""Stability of the inner loop: extreme eigenvalues of each task's Hessian, and loss decrease."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from metabench.algorithms.adapt import NO_BACKWARD, adapt
from metabench.algorithms.inner_optimizers.inner_optimizer import InnerOptimizer
from metabench.autodiff import per_task_products
from metabench.linalg.lanczos import lanczos_extremes
from metabench.problems.problem import Problem
from metabench.problems.tasks import Task

EIGENVALUE_TOLERANCE = 1e-3  # relative
MOST_PRODUCTS = 60  # Hessian-vector products of Lanczos


class LossDecrease(NamedTuple):
    """Losses before and after adaptation."""

    first: Tensor  # inner loss at phi_0, ()
    last: Tensor  # at phi_K, ()
    outer: Tensor  # query loss at phi_K, ()


def extreme_eigenvalues(
    problem: Problem, theta: Tensor, phis: Tensor, tasks: Task
) -> tuple[Tensor, Tensor]:
    """Compute the smallest and largest eigenvalue of each task's inner Hessian, `(T,)` each.

    Args:
        problem: gives the inner loss.
        theta: meta-parameters, `(Q,)`.
        phis: parameters of each task at which the Hessian is taken, `(T, P)`.
        tasks: T tasks.

    Returns:
        Smallest and largest eigenvalues; NaN where phi or a product isn't finite.
    """
    good = torch.isfinite(phis).all(1)
    hvp = per_task_products.per_task_hvp(
        problem.inner_loss, torch.where(good[:, None], phis, 0), theta, tasks.support
    )

    def finite_products(vectors: Tensor) -> Tensor:
        nonlocal good
        product = hvp(vectors)
        good = good & torch.isfinite(product).all(1)
        return torch.where(good[:, None], product, 0)  # LAPACK refuses NaN

    generator = torch.Generator().manual_seed(0)
    start = torch.randn(1, phis.shape[1], generator=generator, dtype=torch.float64).to(phis)
    starts = start.expand_as(phis).clone()
    found = lanczos_extremes(finite_products, starts, EIGENVALUE_TOLERANCE, MOST_PRODUCTS)
    none = torch.full_like(found.smallest, torch.nan)
    return torch.where(good, found.smallest, none), torch.where(good, found.largest, none)


def loss_decrease(
    optimizer: InnerOptimizer, steps: int, problem: Problem, theta: Tensor, task: Task
) -> LossDecrease:
    """Compute the losses of one task before and after K inner steps.

    Args:
        optimizer: the inner optimizer.
        steps: K, inner steps.
        problem: the losses.
        theta: meta-parameters, `(Q,)`.
        task: one task.
    """
    phi = adapt(optimizer, steps, problem, theta, task, NO_BACKWARD).last
    first = problem.inner_loss(problem.init(theta), theta, task.support)
    return LossDecrease(
        first,
        problem.inner_loss(phi, theta, task.support),
        problem.outer_loss(phi, theta, task.query),
    )
