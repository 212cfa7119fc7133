"""Many sets of each task in the place of one: what its expected losses are, as nearly as wanted."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from metabench import curvature
from metabench.problem import Address, Data, Loss, Problem, Task, tree_map

if TYPE_CHECKING:
    from torch import Tensor

    from metabench.subject import Subject


class Looked(NamedTuple):
    """What the sets of one task give at theta, for one inner step; with a leading T for many."""

    gradient: Tensor  # of the inner loss, mean over support sets, (P,)
    within: Tensor  # its variance over support sets, that of one set, ()
    of_query: Tensor  # variance of the outer gradient after the step over query sets, ()
    loss: Tensor  # outer loss after the step, ()
    whole: Tensor  # meta-gradient of the expected losses, to second order in 1 / examples, (P,)
    single: Tensor  # with one set each, independent ones, for step, Hessian and query, (P,)


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


def look(problem: Problem, rate: float, theta: Tensor, task: Task) -> Looked:
    r"""Take one step of plain descent from theta on each choice of a task's sets.

    A smooth loss makes :math:`E g(m) = \nabla F_i + c / m + O(m^{-2})` with m sets, so that
    twice the meta-gradient of all less that of halves is right to second order.
    """
    w = problem.init(theta)
    grads = [curvature.gradient(problem.inner_loss, w, theta, one) for one in task.support]

    def step(part: slice) -> Tensor:
        return w - rate * _mean(grads[part])

    def outer(phi: Tensor, part: slice) -> list[Tensor]:
        return [curvature.gradient(problem.outer_loss, phi, theta, q) for q in task.query[part]]

    def meta(steps: slice, hessians: slice, queries: slice) -> Tensor:
        v = _mean(outer(step(steps), queries))
        products = [
            curvature.gradient_with_products(problem.inner_loss, w, theta, one)[1](v)[0]
            for one in task.support[hessians]
        ]
        return v - rate * _mean(products)

    sets, half = len(grads), len(grads) // 2
    every, first, second = slice(sets), slice(half), slice(half, sets)
    phi = step(every)
    whole = meta(every, every, every)
    if half:
        halves = meta(first, first, first) + meta(second, second, second)
        whole = 2 * whole - halves / 2
    loss = _mean([problem.outer_loss(phi, theta, q) for q in task.query])
    single = slice(1), slice(min(1, sets - 1), min(2, sets)), slice(1)
    return Looked(
        _mean(grads),
        _variance(grads),
        _variance(outer(phi, every)),
        loss,
        whole,
        meta(*single),
    )


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
