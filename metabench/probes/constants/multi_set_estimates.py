"""Many sets of each task in the place of one: what its expected losses are, as nearly as wanted."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from metabench.autodiff import derivatives
from metabench.problems.problem import Problem
from metabench.problems.tasks import Address, Data, Loss, Task, tree_map

if TYPE_CHECKING:
    from torch import Tensor

    from metabench.estimation.estimator_on_tasks import Subject


TINY = 1e-300  # a gradient of zero has no direction


class SetEstimates(NamedTuple):
    """What the sets of one task give at theta, for one inner step; with a leading T for many."""

    gradient: Tensor  # of the inner loss, mean over support sets, (P,)
    within: Tensor  # its variance over support sets, that of one set, ()
    along: Tensor  # what of that lies along the mean, ()
    of_query: Tensor  # variance of the outer gradient after the step over query sets, ()
    loss: Tensor  # outer loss after the step, ()
    whole: Tensor  # meta-gradient of the expected losses, to second order in 1 / examples, (P,)
    estimate_single_sets: Tensor  # with one independent set each for step, Hessian, query, (P,)


def draw(subject: Subject, address: Address, seed: int, sets: int) -> Task:
    """Draw the addressed tasks with so many support and query sets each, `(T, ...)` every one."""
    found = [
        subject.draw(address._replace(support=address.support + j, query=address.query + j), seed)
        for j in range(sets)
    ]
    return Task(tuple(task.support for task in found), tuple(task.query for task in found))


def pooled(problem: Problem) -> Problem:
    """Average both losses over the sets that `draw` gives."""

    def mean(loss: Loss) -> Loss:
        def of_sets(phi: Tensor, theta: Tensor, data: Data) -> Tensor:
            return _mean([loss(phi, theta, one) for one in data])

        return of_sets

    return problem._replace(
        inner_loss=mean(problem.inner_loss), outer_loss=mean(problem.outer_loss)
    )


def estimate_sets(problem: Problem, rate: float, theta: Tensor, task: Task) -> SetEstimates:
    r"""Take one step of plain descent from theta on each choice of a task's sets.

    A smooth loss makes :math:`E g(m) = \nabla F_i + c / m + O(m^{-2})` with m sets, so that
    twice the meta-gradient of all less that of halves is right to second order.
    """
    w = problem.init(theta)
    grads = _gradients(problem.inner_loss, w, theta, task.support)
    sets, half = len(grads), len(grads) // 2
    phi = w - rate * _mean(grads)
    whole = _meta(problem, rate, theta, task, grads)
    if half:
        parts = slice(half), slice(half, sets)
        halves = [_meta(problem, rate, theta, _some(task, p), grads[p]) for p in parts]
        whole = 2 * whole - _mean(halves)
    loss = _mean([problem.outer_loss(phi, theta, q) for q in task.query])
    of_query = _variance(_gradients(problem.outer_loss, phi, theta, task.query))
    drawn = estimate_single_sets(problem, rate, theta, task)
    mean = _mean(grads)
    unit = mean / mean.norm().clamp(min=TINY)
    along = _variance([(grad @ unit)[None] for grad in grads])
    return SetEstimates(mean, _variance(grads), along, of_query, loss, whole, drawn)


def estimate_single_sets(problem: Problem, rate: float, theta: Tensor, task: Task) -> Tensor:
    """Give the theory's estimator `(P,)`: a set for the step, another for the Hessian, a query."""
    first, second = task.support[:1], task.support[1:2] or task.support[:1]
    grads = _gradients(problem.inner_loss, problem.init(theta), theta, first)
    return _meta(problem, rate, theta, Task(second, task.query[:1]), grads)


def _meta(
    problem: Problem, rate: float, theta: Tensor, task: Task, grads: Sequence[Tensor]
) -> Tensor:
    """Give (I - alpha H) v: the step by given gradients, H and v means over the task's sets."""
    w = problem.init(theta)
    v = _mean(_gradients(problem.outer_loss, w - rate * _mean(grads), theta, task.query))
    products = [
        derivatives.gradient_with_products(problem.inner_loss, w, theta, one)[1](v)[0]
        for one in task.support
    ]
    return v - rate * _mean(products)


def _gradients(loss: Loss, phi: Tensor, theta: Tensor, sets: Sequence[Data]) -> list[Tensor]:
    return [derivatives.gradient(loss, phi, theta, one) for one in sets]


def _some(task: Task, part: slice) -> Task:
    return Task(task.support[part], task.query[part])


def leaf_of(data: Data) -> Tensor:
    """Give the first tensor of a set."""
    leaves: list[Tensor] = []
    tree_map(leaves.append, data)
    return leaves[0]


def _mean(parts: Sequence[Tensor]) -> Tensor:
    return sum(parts[1:], start=parts[0]) / len(parts)


def _variance(vectors: Sequence[Tensor]) -> Tensor:
    """Give the trace of the covariance, unbiased; NaN for one vector."""
    n, mean = len(vectors), _mean(vectors)
    square = _mean([((vector - mean) ** 2).sum() for vector in vectors])
    return square * (n / (n - 1) if n > 1 else float("nan"))
