"""Which second-order terms of a given meta-gradient are missing or scaled, by layer or by step."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from metabench.algorithms.adapt import NO_BACKWARD, adapt
from metabench.algorithms.base import Loop, through_init
from metabench.autodiff import derivatives
from metabench.problems.problem import Problem
from metabench.problems.tasks import Task

ITERATIONS = 8  # of Gauss-Newton, whose map is a polynomial in the factors
STARTS = (1.0, 0.0, -1.0, 2.0, 0.5)  # of all factors
MATCHED = 1e-6  # relative difference up to which the factors explain the given gradient

Products = Callable[[Tensor], tuple[Tensor, Tensor]]  # v -> H v (P,), C^T v (Q,)


class Fit(NamedTuple):
    """Factors of the second-order terms; 1 is right, 0 is a term that is missing."""

    factors: Tensor  # one for each layer, or each inner step
    error: float  # relative difference between the gradient with these factors and the given one


class Unrolled(NamedTuple):
    """What the adjoint recursion of one task needs, by plain steps of one rate."""

    problem: Problem
    theta: Tensor
    rate: float
    products: tuple[Products, ...]  # of the support loss at phi_0 .. phi_{K-1}
    query: tuple[Products, ...]  # of the query loss there
    v: Tensor  # gradient of the query loss at phi_K, `(P,)`
    direct: Tensor  # its derivative in theta, `(Q,)`

    def gradient(
        self,
        factors: Callable[[int, Tensor], Tensor] = lambda k, v: v,
        products: Sequence[Products] = (),
    ) -> Tensor:
        """Compute the meta-gradient `(Q,)`.

        Args:
            factors: `(k, v)` -> v, with entries scaled, before the second-order products of step k.
            products: of each step, the last one's last; by default those of the support loss.
        """
        v, total = self.v, self.direct
        used = products or self.products
        for k in reversed(range(len(used))):
            H, mixed = used[k](self.rate * factors(k, v))
            v, total = v - H, total - mixed
        return through_init(self.problem, self.theta, v) + total


def unrolled(loop: Loop, steps: int, problem: Problem, theta: Tensor, task: Task) -> Unrolled:
    """Run the inner loop of one task and store the products of its steps.

    Args:
        loop: of plain steps.
        steps: K.
        problem: gives the outer loss.
        theta: meta-parameters, `(Q,)`.
        task: one task.
    """
    phis = [
        adapt(loop.inner_optimizer, k, loop.problem, theta, task, NO_BACKWARD).last
        for k in range(steps + 1)
    ]
    given = derivatives.gradient_with_products
    losses = loop.problem.inner_loss, task.support, problem.outer_loss, task.query
    products = tuple(given(losses[0], phi, theta, losses[1])[1] for phi in phis[:-1])
    query = tuple(given(losses[2], phi, theta, losses[3])[1] for phi in phis[:-1])
    _, v, direct = derivatives.value_and_gradients(problem.outer_loss, phis[-1], theta, task.query)
    return Unrolled(problem, theta, loop.inner_optimizer.rate, products, query, v, direct)


def fit_by_layer(tasks: Sequence[Unrolled], given: Tensor) -> Fit:
    """Fit a factor of the second-order terms of each layer of phi.

    A layer whose inner gradient is detached has the factor 0; differences by layer do not locate
    it, since every layer's meta-gradient is wrong then.

    Args:
        tasks: the recursions, T of them.
        given: meta-gradients, `(T, Q)`.
    """
    sizes = [part.stop - part.start for _, part in tasks[0].problem.layouts.phi.segments()]
    repeats = torch.tensor(sizes, device=given.device)

    def scaled(factors: Tensor) -> Callable[[int, Tensor], Tensor]:
        return lambda k, v: v * factors.repeat_interleave(repeats)

    return _fit(tasks, given, len(sizes), scaled)


def fit_by_step(tasks: Sequence[Unrolled], given: Tensor) -> Fit:
    """Fit a factor of the second-order terms of each inner step.

    Args:
        tasks: the recursions, T of them.
        given: meta-gradients, `(T, Q)`.
    """

    def scaled(factors: Tensor) -> Callable[[int, Tensor], Tensor]:
        return lambda k, v: v * factors[k]

    return _fit(tasks, given, len(tasks[0].products), scaled)


def _fit(
    tasks: Sequence[Unrolled],
    given: Tensor,
    count: int,
    scaled: Callable[[Tensor], Callable[[int, Tensor], Tensor]],
) -> Fit:
    """Fit factors by Gauss-Newton, from one start after another until one fits.

    Args:
        tasks: the recursions, T of them.
        given: meta-gradients, `(T, Q)`.
        count: of the factors.
        scaled: the factors of `Unrolled.gradient`, of a vector `(count,)`.
    """

    def residual(factors: Tensor) -> Tensor:
        made = torch.stack([each.gradient(scaled(factors)) for each in tasks])
        return (made - given).ravel()

    starts = [given.new_full((count,), each) for each in STARTS]
    starts.sort(key=lambda each: float(residual(each).norm()))
    size, found = float(given.norm()) or 1.0, list[Fit]()
    for start in starts:
        found.append(_descended(residual, start, size))
        if found[-1].error <= MATCHED:
            break
    return min(found, key=lambda each: each.error)


def _descended(residual: Callable[[Tensor], Tensor], factors: Tensor, size: float) -> Fit:
    """Return the fit that Gauss-Newton reaches from a start.

    Args:
        residual: of the factors `(count,)`.
        factors: the start.
        size: to which the error is relative.
    """
    moves = torch.eye(len(factors)).to(factors)
    for _ in range(ITERATIONS):
        left = residual(factors)
        if float(left.norm()) <= MATCHED**2 * size:
            break
        J = torch.stack([(residual(factors + 1e-4 * m) - left) / 1e-4 for m in moves], 1)
        factors = factors - torch.linalg.lstsq(J, left[:, None]).solution[:, 0]
        if not torch.isfinite(factors).all():
            return Fit(factors, float("inf"))
    return Fit(factors, float(residual(factors).norm()) / size)
