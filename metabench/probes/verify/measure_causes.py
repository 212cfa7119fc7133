"""Recognize a wrong gradient: by itself, by its relation to the right one, or as another's."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from metabench.estimation.vectorization import Vectorization
from metabench.problems.tasks import Task, tree_map
from metabench.records.rows import Row

if TYPE_CHECKING:
    from metabench.estimation.estimator_on_tasks import Subject
    from metabench.problems.parameter_layout import Layout

H = 1e-5  # of the differences, along a unit vector
MATCHED = 1e-3  # relative difference of slopes up to which two gradients are one
CLEARER = 0.1  # of the difference to the gradient of the loss, below which another is recognized
EQUAL = 1e-6  # relative: equal norms, or entries equal in size
MOST_ORDERS = 16  # of layers exchanged or transposed that are tried
FEWEST_NUMBERS = 4  # slopes that must agree


def causes(subject: Subject, tasks: Task, grads: Tensor, along: Sequence[Tensor]) -> list[Row]:
    """Return rows on what a gradient that differs from its loss's is.

    Args:
        subject: at a theta in float64.
        tasks: with a leading axis.
        grads: the gradients that were given, `(T, Q)`.
        along: unit vectors, `(Q,)` each, along which slopes are compared.
    """
    rows = _by_itself(grads)
    claims = torch.stack([grads @ each for each in along])
    if claims.numel() < FEWEST_NUMBERS or not torch.isfinite(claims).all():
        return rows
    slopes = _slopes(_losses(subject), subject.theta, tasks, along)
    apart = _apart(claims, slopes)
    if apart != apart:
        return rows
    if found := _relation(claims, slopes, subject.theta, along):
        return [*rows, found]
    layers = _in_other_layers(_losses(subject), subject, tasks, along, claims)
    if layers and layers[0] <= min(MATCHED, CLEARER * apart):
        return [*rows, layers[1]]
    for name, losses, changed in _others(subject, tasks):
        try:
            error = _error(losses, subject.theta, changed, along, claims)
        except (RuntimeError, ValueError, IndexError):  # the loss does not take such a task
            continue
        if error <= min(MATCHED, CLEARER * apart):
            return [*rows, Row("cause", of=name, value=error, status="info")]
    return rows


Losses = Callable[[Tensor, Task], Tensor]  # (theta, tasks) -> (T,)


def _losses(subject: Subject) -> Losses:
    return Vectorization("loop").per_task(
        lambda theta, task: subject.algorithm.differentiated(subject.problem, theta, task)
    )


def _slopes(losses: Losses, theta: Tensor, tasks: Task, along: Sequence[Tensor]) -> Tensor:
    """Return the losses' slopes along each vector, `(directions, T)`, by one central difference.

    It is good to 1e-6 or so in float64, and recognizes nothing where the loss is noisier.
    """

    def values(at: Tensor) -> Tensor:
        return losses(at, tasks).to(theta.dtype)

    return torch.stack([(values(theta + H * v) - values(theta - H * v)) / (2 * H) for v in along])


def _error(
    losses: Losses, theta: Tensor, tasks: Task, along: Sequence[Tensor], claims: Tensor
) -> float:
    """Return how far the claims are from these losses' slopes; infinite if the first one differs.

    Args:
        losses: whose slopes are taken.
        theta: where, `(Q,)`.
        tasks: with a leading axis.
        along: unit vectors, `(Q,)` each.
        claims: of the given gradients along them, `(directions, T)`.
    """
    first = _slopes(losses, theta, tasks, along[:1])
    if not float((claims[:1] - first).norm()) <= MATCHED * float(claims.norm()):
        return math.inf  # most candidates are another gradient: no more losses for those
    return _apart(claims, torch.cat([first, _slopes(losses, theta, tasks, along[1:])]))


def _apart(claims: Tensor, slopes: Tensor) -> float:
    """Return the relative difference; NaN if a slope is missing."""
    return float((claims - slopes).norm() / torch.maximum(claims.norm(), slopes.norm()))


def _by_itself(grads: Tensor) -> list[Row]:
    """Return rows on what the gradient alone shows: its precision, and clipping."""
    rows = []
    for dtype, name in ((torch.bfloat16, "bfloat16"), (torch.float16, "float16")):
        if torch.equal(grads.to(dtype).to(grads), grads):
            rows.append(Row("cause", of=name, status="info"))
            break
    norms, sizes = grads.norm(dim=1), grads.abs()
    if len(grads) > 1 and norms.min() > 0 and norms.max() <= (1 + EQUAL) * norms.min():
        rows.append(Row("cause", of="equal norms", value=float(norms[0]), status="info"))
    at_most = (sizes >= (1 - EQUAL) * sizes.amax(1, keepdim=True)).sum(1)
    if not rows and bool((at_most > 1).all()) and bool((at_most < sizes.shape[1]).all()):
        rows.append(Row("cause", of="equal entries", status="info"))
    return rows


def _relation(claims: Tensor, slopes: Tensor, theta: Tensor, along: Sequence[Tensor]) -> Row | None:
    """Return the row of a gradient that is off by a multiple of theta, or by a factor per task."""
    gap, of_theta = claims - slopes, torch.stack([v @ theta for v in along])[:, None]
    square = float((of_theta**2).sum()) * gap.shape[1]
    factor = float((gap * of_theta).sum()) / square if square else 0.0
    if float((gap - factor * of_theta).norm()) <= MATCHED * float(gap.norm()):
        return Row("cause", of="penalty", value=factor, status="info")
    factors = (claims * slopes).sum(0) / (slopes**2).sum(0)
    left = float((claims - factors * slopes).norm())
    if len(along) > 1 and left <= MATCHED * float(claims.norm()):
        low, high = float(factors.min()), float(factors.max())
        if high - low > MATCHED * abs(high):
            return Row("cause", of="multiple by task", low=low, high=high, status="info")
    return None


def _in_other_layers(
    losses: Losses, subject: Subject, tasks: Task, along: Sequence[Tensor], claims: Tensor
) -> tuple[float, Row] | None:
    """Return the best of the gradients with two layers exchanged, or one transposed.

    Args:
        losses: whose slopes are taken.
        subject: at a theta in float64.
        tasks: with a leading axis.
        along: unit vectors, `(Q,)` each.
        claims: of the given gradients along them, `(directions, T)`.
    """
    found = []
    for name, layer, order in islice(_orders(subject.problem.layouts.theta), MOST_ORDERS):
        error = _error(losses, subject.theta, tasks, [v[order] for v in along], claims)
        found.append((error, Row("cause", of=name, layer=layer, status="info")))
    return min(found, key=lambda each: each[0], default=None)


def _orders(layout: Layout) -> Iterator[tuple[str, str, Tensor]]:
    """Yield names, layers, and orders `(Q,)` in which two layers, or rows and columns, change."""
    parts = list(zip(layout.segments(), layout.shapes, strict=True))
    for i, ((name, part), shape) in enumerate(parts):
        if len(shape) == 2 and shape[0] == shape[1] > 1:
            order = torch.arange(layout.size)
            order[part] = order[part].view(shape).T.ravel()
            yield "transposed", name, order
        for (other, there), same in parts[:i]:
            if same == shape:
                order = torch.arange(layout.size)
                order[part], order[there] = order[there].clone(), order[part].clone()
                yield "exchanged layers", f"{other}` and `{name}", order


def _others(subject: Subject, tasks: Task) -> Iterator[tuple[str, Losses, Task]]:
    """Yield other losses whose gradient it may be, with the tasks that they take."""
    losses, problem = _losses(subject), subject.problem
    support, query = tasks.support, tasks.query
    yield "exchanged", losses, tasks._replace(support=query, query=support)
    yield "support twice", losses, tasks._replace(query=support)
    yield "query twice", losses, tasks._replace(support=query)
    per_task = Vectorization("loop").per_task
    yield (
        "unadapted",
        per_task(lambda at, task: problem.outer_loss(problem.init(at), at, task.query)),
        tasks,
    )
    yield (
        "unadapted support",
        per_task(lambda at, task: problem.inner_loss(problem.init(at), at, task.support)),
        tasks,
    )
    beside: Task = tree_map(lambda leaf: leaf.roll(1, 0), tasks)
    yield "other task", losses, beside
    yield "other query", losses, tasks._replace(query=beside.query)
    yield "other support", losses, tasks._replace(support=beside.support)

    def fewer(data: object) -> object:
        return tree_map(lambda leaf: leaf[:, :-1], data)

    yield "query example", losses, tasks._replace(query=fewer(query))
    yield "support example", losses, tasks._replace(support=fewer(support))
