"""Hold the meta-gradient against autograd through the unroll, its solve, and layer by layer."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from metabench.algorithms.base import Algorithm, Implicit, MetaGrad
from metabench.autodiff import derivatives
from metabench.autodiff.finite_differences import directional_derivatives
from metabench.estimation.vectorization import Vectorization
from metabench.probes.verify.limits import LIMITS
from metabench.problems.tasks import Task
from metabench.records.rows import Row

if TYPE_CHECKING:
    from metabench.estimation.estimator_on_tasks import Subject
    from metabench.problems.parameter_layout import Layout

UNROLL = "autograd through the unroll"
IMPLICIT = "implicit against unrolled"
SOLVE = "solver residual"
SLOPES = "finite differences"
LAYERS = 12  # most layers with a verdict of their own, the largest
CONVERGED = 1e-7  # of |grad F|: a slope of the inner loss below it is an optimum
SOLVED = 1e-8  # a residual below it is no source of error
SAME = 1e-3  # relative difference of two measurements of one residual
FAINT = 1e-6  # of a whole gradient's size: a layer below it is held to this much, not to itself


def thorough(subject: Subject, tasks: Task, found: MetaGrad) -> list[Row]:
    """Give the rows of all these checks, in float64, for what `found` is the estimate of."""
    if not (torch.isfinite(found.grad).all() and torch.isfinite(found.loss).all()):
        return []
    rows = _layers(subject, tasks, found)
    if isinstance(subject.algorithm, Algorithm):
        rows += _unrolled(subject, tasks, found)
        if given := subject.algorithm.implicit():
            rows += _solve(subject, subject.algorithm, given, tasks)
    return rows


def _unrolled(subject: Subject, tasks: Task, found: MetaGrad) -> list[Row]:
    """Differentiate the loss after adaptation by reverse mode through every inner step."""
    algorithm, problem = subject.algorithm, subject.problem
    implicit = "residual" in found.notes
    name = IMPLICIT if implicit else UNROLL

    def slope(theta: Tensor, task: Task) -> tuple[Tensor, Tensor]:
        value, pull = derivatives.vjp_of(
            lambda at: algorithm.differentiated(problem, at, task), theta
        )
        return value, pull(torch.ones_like(value))[0]

    try:
        values, grads = Vectorization("loop").per_task(slope)(subject.theta, tasks)
    except RuntimeError:  # an operation without a second derivative
        return [Row("check", of=name, status="withheld")]
    if values.isnan().all() or not torch.isfinite(grads).all():
        return [Row("check", of=name, status="withheld")]
    judged = subject.algorithm.exact or (implicit and _converged(found, grads))
    rows = [_held(name, found.grad, grads, judged)]
    for layer, part in _largest(problem.layouts.theta):
        row = _held(name, found.grad[:, part], grads[:, part], judged, _faint(grads))
        rows.append(row._replace(layer=layer))
    return rows


def _converged(found: MetaGrad, grads: Tensor) -> bool:
    """Say whether the implicit gradient must be that of the unroll: an optimum, and a solve."""
    slope, residual = found.notes["gradient_norm"], found.notes["residual"]
    small = slope <= CONVERGED * grads.norm(dim=1)
    return bool((small & (residual <= SOLVED)).all())


def _held(
    name: str, found: Tensor, expected: Tensor, judged: bool, least: Tensor | float = 0.0
) -> Row:
    size = torch.clamp(expected.norm(dim=1), min=least)
    gap = (found - expected).norm(dim=1)
    error = float((gap / torch.where(size > 0, size, 1)).max())
    if not judged:
        return Row("check", of=name, value=error, status="approximate")
    return Row("check", of=name, value=error, status="ok" if error <= LIMITS[name] else "wrong")


def _solve(subject: Subject, algorithm: Algorithm, given: Implicit, tasks: Task) -> list[Row]:
    """Measure the residual of each task's linear solve again, and hold the claimed one to it."""
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

    left, claimed, least = Vectorization("loop").per_task(residuals)(subject.theta, tasks)
    if not torch.isfinite(left).all() or bool((least <= 0).any()):  # at a saddle, told elsewhere
        return []
    value = float(left.max())
    status = "ok" if value <= LIMITS[SOLVE] else "unsolved"
    if bool(((left - claimed).abs() > SAME * left + SOLVED).any()):
        status = "misreported"
    return [Row("check", of=SOLVE, value=value, status=status)]


def _layers(subject: Subject, tasks: Task, found: MetaGrad) -> list[Row]:
    """Hold the slope along a random direction of each layer alone against differences."""
    algorithm, problem = subject.algorithm, subject.problem
    layers = _largest(problem.layouts.theta)
    if len(layers) < 2 or not _claims(subject) or not found.grad.any():
        return []
    loss = Vectorization("loop").per_task(
        lambda theta, task: algorithm.differentiated(problem, theta, task)
    )
    if loss(subject.theta, tasks).isnan().any():
        return []
    generator = torch.Generator().manual_seed(2)
    rows = []
    for layer, part in layers:
        along = torch.zeros(len(subject.theta), dtype=torch.float64)
        count = part.stop - part.start
        along[part] = torch.randn(count, generator=generator, dtype=torch.float64)
        along = along.to(subject.theta) / along.norm()
        size = torch.maximum(found.grad[:, part].norm(dim=1), _faint(found.grad)) / count**0.5
        slopes = directional_derivatives(lambda at: loss(at, tasks), subject.theta, along, size)
        errors = (slopes - found.grad @ along).abs() / size
        errors = errors[~errors.isnan()]
        row = Row("check", of=SLOPES, layer=layer, status="kink")
        if len(errors):
            off = float(errors.max())
            row = row._replace(value=off, status=_verdict(subject, off))
        rows.append(row)
    return rows


def _claims(subject: Subject) -> bool:
    """Say whether the estimate is meant to be the gradient of the loss it comes with."""
    return subject.algorithm.exact or not isinstance(subject.algorithm, Algorithm)


def _verdict(subject: Subject, error: float) -> str:
    if error <= LIMITS[SLOPES]:
        return "ok"
    return "wrong" if subject.algorithm.exact else "mismatch"


def _faint(grads: Tensor) -> Tensor:
    """Give the size below which a layer of a gradient is too small to be held to its own."""
    size: Tensor = FAINT * grads.norm(dim=1)
    return size


def _largest(layout: Layout) -> list[tuple[str, slice]]:
    """Give the largest layers, in their order; none where there is one."""
    segments = list(layout.segments())
    if len(segments) < 2:
        return []
    sizes = sorted((part.start - part.stop for _, part in segments))
    least = sizes[:LAYERS][-1]
    return [(name, part) for name, part in segments if part.start - part.stop <= least][:LAYERS]
