"""Estimates of each task's expected losses, averaged over several independent draws of its sets."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from metabench.autodiff import derivatives
from metabench.problems.problem import Problem
from metabench.problems.tasks import Address, Data, Loss, Task, tree_map

if TYPE_CHECKING:
    from torch import Tensor

    from metabench.estimation.estimator_on_tasks import Subject


LEAST_NORM = 1e-300  # a gradient of zero has no direction


class SetEstimates(NamedTuple):
    """Estimates for one inner step from the sets of one task at theta; `(T, ...)` for T tasks."""

    gradient: Tensor  # of the inner loss, mean over support sets, (P,)
    support_variance: Tensor  # of the gradient on one support set, trace of the covariance, ()
    support_variance_along: Tensor  # the part of it along the mean gradient, ()
    query_variance: Tensor  # of the outer gradient after the step on one query set, ()
    loss: Tensor  # outer loss after the step, ()
    meta_gradient: Tensor  # of the expected losses, to second order in 1 / examples, (P,)
    single_set_meta_gradient: Tensor  # independent sets for step, Hessian and query, (P,)


def draw(subject: Subject, address: Address, seed: int, sets: int) -> Task:
    """Draw tasks with several support and query sets each.

    Args:
        subject: whose sampler draws.
        address: of T tasks.
        seed: of the tasks.
        sets: support and query sets a task.

    Returns:
        A task whose support and query are tuples of `sets` sets, each `(T, ...)`.
    """
    found = [
        subject.draw(address._replace(support=address.support + j, query=address.query + j), seed)
        for j in range(sets)
    ]
    return Task(tuple(task.support for task in found), tuple(task.query for task in found))


def averaged_over_sets(problem: Problem) -> Problem:
    """Return the problem with both losses averaged over the sets of `draw`."""

    def mean(loss: Loss) -> Loss:
        def of_sets(phi: Tensor, theta: Tensor, data: Data) -> Tensor:
            return _mean([loss(phi, theta, one) for one in data])

        return of_sets

    return problem._replace(
        inner_loss=mean(problem.inner_loss), outer_loss=mean(problem.outer_loss)
    )


def estimate_sets(problem: Problem, rate: float, theta: Tensor, task: Task) -> SetEstimates:
    r"""Return the estimates of one task for one step of plain gradient descent from theta.

    For a smooth loss and m sets, :math:`E g(m) = \nabla F_i + c / m + O(m^{-2})`: twice the
    meta-gradient on all sets minus the mean of those on halves is right to second order.

    Args:
        problem: with losses of one set.
        rate: inner rate.
        theta: where adaptation starts, `(P,)`.
        task: with several sets, see `draw`.
    """
    w = problem.init(theta)
    grads = _gradients(problem.inner_loss, w, theta, task.support)
    sets, half = len(grads), len(grads) // 2
    phi = w - rate * _mean(grads)
    meta = _meta_gradient(problem, rate, theta, task, grads)
    if half:
        parts = slice(half), slice(half, sets)
        halves = [_meta_gradient(problem, rate, theta, _subset(task, p), grads[p]) for p in parts]
        meta = 2 * meta - _mean(halves)
    loss = _mean([problem.outer_loss(phi, theta, q) for q in task.query])
    query_variance = _variance(_gradients(problem.outer_loss, phi, theta, task.query))
    single = single_set_meta_gradient(problem, rate, theta, task)
    mean = _mean(grads)
    unit = mean / mean.norm().clamp(min=LEAST_NORM)
    along = _variance([(grad @ unit)[None] for grad in grads])
    return SetEstimates(mean, _variance(grads), along, query_variance, loss, meta, single)


def single_set_meta_gradient(problem: Problem, rate: float, theta: Tensor, task: Task) -> Tensor:
    """Return the theory's estimate `(P,)`: one set for the step, another for the Hessian, a query.

    Args:
        problem: with losses of one set.
        rate: inner rate.
        theta: where adaptation starts, `(P,)`.
        task: with several sets, see `draw`.
    """
    first, second = task.support[:1], task.support[1:2] or task.support[:1]
    grads = _gradients(problem.inner_loss, problem.init(theta), theta, first)
    return _meta_gradient(problem, rate, theta, Task(second, task.query[:1]), grads)


def _meta_gradient(
    problem: Problem, rate: float, theta: Tensor, task: Task, grads: Sequence[Tensor]
) -> Tensor:
    """Return (I - alpha H) v after a step along `grads`; H and v are means over the task's sets."""
    w = problem.init(theta)
    v = _mean(_gradients(problem.outer_loss, w - rate * _mean(grads), theta, task.query))
    products = [
        derivatives.gradient_with_products(problem.inner_loss, w, theta, one)[1](v)[0]
        for one in task.support
    ]
    return v - rate * _mean(products)


def _gradients(loss: Loss, phi: Tensor, theta: Tensor, sets: Sequence[Data]) -> list[Tensor]:
    return [derivatives.gradient(loss, phi, theta, one) for one in sets]


def _subset(task: Task, part: slice) -> Task:
    return Task(task.support[part], task.query[part])


def leaf_of(data: Data) -> Tensor:
    """Return the first tensor of a set."""
    leaves: list[Tensor] = []
    tree_map(leaves.append, data)
    return leaves[0]


def _mean(parts: Sequence[Tensor]) -> Tensor:
    return sum(parts[1:], start=parts[0]) / len(parts)


def _variance(vectors: Sequence[Tensor]) -> Tensor:
    """Return the unbiased trace of the covariance; NaN for one vector."""
    n, mean = len(vectors), _mean(vectors)
    square = _mean([((vector - mean) ** 2).sum() for vector in vectors])
    return square * (n / (n - 1) if n > 1 else float("nan"))
