"""Thorough checks: autograd through the unroll, the linear solve, and each layer."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from metabench.algorithms.base import Algorithm, Implicit, MetaGrad
from metabench.autodiff import derivatives
from metabench.estimation.vectorization import Vectorization
from metabench.probes.verify.limits import DIFFERENCES, IMPLICIT, LIMITS, SOLVE, UNROLL
from metabench.probes.verify.measure_differences import differences
from metabench.probes.verify.measure_round_off import above_round_off
from metabench.problems.tasks import Task
from metabench.records.rows import Row

if TYPE_CHECKING:
    from metabench.estimation.estimator_on_tasks import Subject
    from metabench.problems.parameter_layout import Layout

MOST_LAYERS = 12  # that are checked one by one, the largest
CONVERGED = 1e-7  # of |grad F|: an inner loss with a smaller gradient norm is at its optimum
SOLVED = 1e-8  # a residual below it is no source of error
RESIDUAL_TOLERANCE = 1e-3  # relative difference of two measurements of one residual
LEAST_LAYER = 1e-6  # of the whole gradient's norm: the error of a smaller layer is relative to this


def thorough(
    subject: Subject, tasks: Task, found: MetaGrad, spread: Callable[[], float], unit: float
) -> list[Row]:
    """Return the rows of all these checks, in float64.

    Args:
        subject: at a theta in float64.
        tasks: with a leading axis.
        found: the estimates of these tasks.
        spread: measures how far the estimates move with the last digits of theta.
        unit: relative round-off of the lowest precision inside.
    """
    if not (torch.isfinite(found.grad).all() and torch.isfinite(found.loss).all()):
        return []
    rows = _layers(subject, tasks, found, unit)
    if isinstance(subject.algorithm, Algorithm):
        rows += [above_round_off(row, spread) for row in _unrolled(subject, tasks, found)]
        if given := subject.algorithm.implicit():
            rows += _solve(subject, subject.algorithm, given, tasks)
    return rows


def _unrolled(subject: Subject, tasks: Task, found: MetaGrad) -> list[Row]:
    """Differentiate the loss after adaptation by reverse mode through every inner step."""
    algorithm, problem = subject.algorithm, subject.problem
    implicit = "residual" in found.notes
    name = IMPLICIT if implicit else UNROLL

    def loss_and_gradient(theta: Tensor, task: Task) -> tuple[Tensor, Tensor]:
        value, vjp = derivatives.vjp_of(
            lambda at: algorithm.differentiated(problem, at, task), theta
        )
        return value, vjp(torch.ones_like(value))[0]

    try:
        values, grads = Vectorization("loop").per_task(loss_and_gradient)(subject.theta, tasks)
    except RuntimeError:  # an operation without a second derivative
        return [Row("check", of=name, status="withheld")]
    if values.isnan().all() or not torch.isfinite(grads).all():
        return [Row("check", of=name, status="withheld")]
    judged = subject.algorithm.exact or (implicit and _converged(found, grads))
    rows = [_comparison(name, found.grad, grads, judged)]
    for layer, part in _largest(problem.layouts.theta):
        row = _comparison(name, found.grad[:, part], grads[:, part], judged, _least_size(grads))
        rows.append(row._replace(layer=layer))
    return rows


def _converged(found: MetaGrad, grads: Tensor) -> bool:
    """Whether the implicit gradient must equal the unroll's: inner loop and solve converged."""
    norm, residual = found.notes["gradient_norm"], found.notes["residual"]
    small = norm <= CONVERGED * grads.norm(dim=1)
    return bool((small & (residual <= SOLVED)).all())


def _comparison(
    name: str, found: Tensor, expected: Tensor, judged: bool, least: Tensor | float = 0.0
) -> Row:
    size = torch.clamp(expected.norm(dim=1), min=least)
    gap = (found - expected).norm(dim=1)
    error = float((gap / torch.where(size > 0, size, 1)).max())
    if not judged:
        return Row("check", of=name, value=error, status="approximate")
    return Row("check", of=name, value=error, status="ok" if error <= LIMITS[name] else "wrong")


def _solve(subject: Subject, algorithm: Algorithm, given: Implicit, tasks: Task) -> list[Row]:
    """Recompute the residual of each task's linear solve and compare it with the reported one."""
    problem = algorithm.inner(subject.problem)

    def residuals(theta: Tensor, task: Task) -> tuple[Tensor, Tensor, Tensor]:
        phi = algorithm.adapted(subject.problem, theta, task)
        b = derivatives.gradient(problem.outer_loss, phi, theta, task.query)
        _, products = derivatives.gradient_with_products(
            problem.inner_loss, phi, theta, task.support
        )
        solved = given.solver(lambda v: products(v)[0], b)
        size = b.norm()
        left = (products(solved.x)[0] - b).norm() / torch.where(size > 0, size, 1)
        return left, solved.residual, solved.curvature

    left, reported, least = Vectorization("loop").per_task(residuals)(subject.theta, tasks)
    if not torch.isfinite(left).all() or bool((least <= 0).any()):  # a saddle has its own row
        return []
    value = float(left.max())
    status = "ok" if value <= LIMITS[SOLVE] else "unsolved"
    if bool(((left - reported).abs() > RESIDUAL_TOLERANCE * left + SOLVED).any()):
        status = "misreported"
    return [Row("check", of=SOLVE, value=value, status=status)]


def _layers(subject: Subject, tasks: Task, found: MetaGrad, unit: float) -> list[Row]:
    """Compare derivatives along a random direction of each layer with finite differences."""
    algorithm, problem = subject.algorithm, subject.problem
    layers = _largest(problem.layouts.theta)
    if len(layers) < 2 or not _claims_gradient(subject) or not found.grad.any():
        return []
    loss = Vectorization("loop").per_task(
        lambda theta, task: algorithm.differentiated(problem, theta, task)
    )
    if loss(subject.theta, tasks).isnan().any():
        return []
    generator = torch.Generator().manual_seed(2)
    rows, smooth = [], False
    for layer, part in layers:
        along = torch.zeros(len(subject.theta), dtype=torch.float64)
        count = part.stop - part.start
        along[part] = torch.randn(count, generator=generator, dtype=torch.float64)
        along = along.to(subject.theta) / along.norm()
        size = torch.maximum(found.grad[:, part].norm(dim=1), _least_size(found.grad)) / count**0.5
        judged = differences(
            lambda at: loss(at, tasks), subject.theta, found.grad, size, [along], unit, smooth
        )
        smooth = smooth or judged.smooth
        rows.append(judged.row("wrong" if subject.algorithm.exact else "mismatch", layer))
        if judged.status == "wrong" and judged.factor == judged.factor:
            rows.append(Row("factor", of=DIFFERENCES, layer=layer, value=judged.factor))
    return rows


def _claims_gradient(subject: Subject) -> bool:
    """Whether the estimate is meant to be the gradient of the loss it comes with."""
    return subject.algorithm.exact or not isinstance(subject.algorithm, Algorithm)


def _least_size(grads: Tensor) -> Tensor:
    """Return the size to which the error of a smaller layer is relative, `(T,)`."""
    size: Tensor = LEAST_LAYER * grads.norm(dim=1)
    return size


def _largest(layout: Layout) -> list[tuple[str, slice]]:
    """Return the largest layers, in the order of theta; none where there is only one."""
    segments = list(layout.segments())
    if len(segments) < 2:
        return []
    sizes = sorted((part.start - part.stop for _, part in segments))
    least = sizes[:MOST_LAYERS][-1]
    return [(name, part) for name, part in segments if part.start - part.stop <= least][
        :MOST_LAYERS
    ]
