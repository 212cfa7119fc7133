"""Checks of the meta-gradient: computations that must agree are run and compared."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from metabench.algorithms.base import Algorithm, MetaGrad
from metabench.algorithms.black_box import BlackBox
from metabench.autodiff import derivatives
from metabench.autodiff.finite_differences import directional_derivatives
from metabench.estimation.vectorization import Vectorization, first_task
from metabench.probes.base import Progress
from metabench.probes.verify.failures import explained
from metabench.probes.verify.limits import LIMITS
from metabench.probes.verify.measure_thorough import thorough
from metabench.problems.tasks import Address, Task, cast, tree_map
from metabench.records.rows import Row

if TYPE_CHECKING:
    from metabench.estimation.estimator_on_tasks import Subject
    from metabench.probes.verify import Verify

LEAST_MOVE = 1e-9  # of |theta|: float64 represents a smaller move to few digits only
RELATIVE_CHANGE = 1e-6  # of the loss: float32 resolves it, float16 and bfloat16 don't


def measure(probe: Verify, subject: Subject, seed: int, progress: Progress) -> list[Row]:
    """Return a row for each check, after refusing an estimator that can't be run.

    Args:
        probe: how many tasks and directions, and whether to be thorough.
        subject: whose meta-gradient is checked.
        seed: of the tasks.
        progress: is called with the stages done and all stages.

    Raises:
        InvalidInput: if drawing tasks or one task's estimate fails, with the repair.
    """
    address = Address.fresh(0, probe.tasks)
    with explained("drawing tasks"):
        tasks = subject.draw(address, seed)
    with explained("one task"):
        alone = _estimates(subject, tasks, "loop")
        one: Task = tree_map(lambda leaf: leaf[0], tasks)
        subject.algorithm.check(subject.problem, subject.theta, one)
    if not subject.algorithm.loops and _how(subject) == "vmap":
        with explained("vmap"):
            _estimates(subject, tasks, "vmap")
    progress(1, 2)
    rows = [
        *_model_and_sampler_rows(subject),
        _zero(alone.grad),
        _saddle(alone),
        *_checks(probe, subject, tasks, alone),
    ]
    progress(2, 2)
    return [row for row in rows if row is not None]


def _how(subject: Subject) -> str:
    """Return vmap unless a loop was asked for: `auto` chooses vmap for all but large tasks."""
    return "loop" if subject.compute.batching == "loop" else "vmap"


def _estimates(subject: Subject, tasks: Task, how: str) -> MetaGrad:
    how = "loop" if subject.algorithm.loops else how
    compute = Vectorization(how, subject.compute.chunk)
    result: MetaGrad = compute.per_task(
        lambda theta, task: subject.algorithm(subject.problem, theta, task)
    )(subject.theta, tasks)
    return result


def _model_and_sampler_rows(subject: Subject) -> list[Row]:
    """Return rows for fused norms, changes made to the model, and missing redraws."""
    return [
        *(Row("fused_norm", of=name, status="warning") for name in subject.problem.fused),
        *(Row("changed", of=note, status="info") for note in subject.problem.notes),
        *(Row("unavailable", of=why, status="withheld") for why in subject.withheld),
    ]


def _zero(grad: Tensor) -> Row | None:
    return None if grad.any() else Row("zero", of="meta-gradient", value=0.0, status="zero")


def _saddle(found: MetaGrad) -> Row | None:
    """Return the least curvature that a linear solve met; 0 or less means no minimum."""
    if "curvature" not in found.notes:
        return None
    least = float(found.notes["curvature"].min())
    if not math.isfinite(least):  # nothing was solved, or what was solved isn't finite
        return None
    status = "ok" if least > 0 else "saddle"
    return Row("curvature", of="inner objective", value=least, status=status)


def _checks(probe: Verify, subject: Subject, tasks: Task, alone: MetaGrad) -> list[Row | None]:
    rows: list[Row | None] = [_repeat(subject, tasks, alone)]
    exact = subject.at(subject.theta.double())
    tasks = cast(tasks, exact.theta)
    how = _how(subject)
    try:
        double = _estimates(exact, tasks, "loop")
    except (RuntimeError, TypeError, ValueError):  # code with a hard-coded dtype
        return [*rows, _missing_check("finite differences")]
    if double.grad.dtype != torch.float64:
        return [*rows, _missing_check("finite differences")]
    if isinstance(exact.algorithm, BlackBox) and exact.algorithm.batched:
        rows.append(_mean(exact, exact.algorithm, tasks, double))
    rows.append(_check("precision", _largest_error(alone.grad.double(), double.grad), "imprecise"))
    if how == "vmap" and not subject.algorithm.loops:
        together = _estimates(exact, tasks, "vmap")
        rows.append(_check("vmap against a loop", _largest_error(together.grad, double.grad)))
    rows.append(_differences(probe, exact, tasks, double))
    rows.append(_resolution(exact, tasks, double))
    if isinstance(subject.algorithm, Algorithm):
        rows.append(_symmetry(exact, tasks, how))
    return [*rows, *thorough(exact, tasks, double)] if probe.thorough else rows


def _repeat(subject: Subject, tasks: Task, alone: MetaGrad) -> Row:
    second = _estimates(subject, tasks, "loop").grad
    return _check("repeated call", _largest_error(second, alone.grad), "random")


def _mean(subject: Subject, estimator: BlackBox, tasks: Task, alone: MetaGrad) -> Row:
    whole = estimator.estimate(subject.problem, subject.theta, tasks).grad
    error = _largest_error(whole[None], alone.grad.mean(0, keepdim=True))
    of_sum = _largest_error(whole[None], alone.grad.sum(0, keepdim=True))
    summed = len(alone.grad) > 1 and of_sum < min(error, LIMITS["batch is the mean"])
    return _check("batch is the mean", error, "sum" if summed else "tasks_interact")


def _differences(probe: Verify, subject: Subject, tasks: Task, found: MetaGrad) -> Row:
    """Compare directional derivatives with finite differences of the reported loss."""
    name, algorithm = "finite differences", subject.algorithm
    black_box = isinstance(algorithm, BlackBox)
    status = _not_comparable(found, black_box)
    if status:
        return Row("check", of=name, status=status)
    loss = Vectorization("loop").per_task(
        lambda theta, task: algorithm.differentiated(subject.problem, theta, task)
    )
    if not algorithm.exact and loss(subject.theta, tasks).isnan().all():
        return _missing_check(name)
    errors = _directional_errors(lambda theta: loss(theta, tasks), subject, found, probe.directions)
    if not len(errors):
        return Row("check", of=name, status="kink")
    if not (algorithm.exact or black_box):  # an approximation by design: reported, not judged
        return Row("check", of=name, value=float(errors.max()), status="approximate")
    return _check(name, float(errors.max()), "mismatch" if black_box else "wrong")


def _not_comparable(found: MetaGrad, black_box: bool) -> str:
    """Return the status why loss and gradient can't be compared, or "" if they can."""
    loss, grad = (bool(torch.isfinite(values).all()) for values in (found.loss, found.grad))
    if black_box and found.loss.isnan().all():
        return "withheld"
    if not (loss and grad):
        return "not finite" if black_box and loss else "diverged"
    return "" if found.grad.any() else "withheld"


def _directional_errors(
    losses: Callable[[Tensor], Tensor], subject: Subject, found: MetaGrad, directions: int
) -> Tensor:
    """Return the errors of directional derivatives, over tasks and directions without a kink.

    Each is relative to the root mean square over random directions of the task's derivative.
    """
    generator = torch.Generator().manual_seed(0)
    size = found.grad.norm(dim=1) / len(subject.theta) ** 0.5
    size = torch.where(size > 0, size, 1)
    errors = []
    for _ in range(directions):
        along = torch.randn(len(subject.theta), generator=generator, dtype=torch.float64)
        along = along.to(subject.theta) / along.norm()
        differences = directional_derivatives(losses, subject.theta, along, size)
        errors.append((differences - found.grad @ along).abs() / size)
    every = torch.stack(errors)
    return every[~every.isnan()]


def _resolution(subject: Subject, tasks: Task, found: MetaGrad) -> Row | None:
    """Return a failed check if a step in theta that should change the loss by 1e-6 doesn't.

    Where the meta-gradient is zero, the inner loss at phi_0 is tested instead.
    """
    problem, task = subject.problem, first_task(tasks)
    at, loss, gradient = subject.theta, found.loss[0], found.grad[0]

    def outer(point: Tensor) -> Tensor:
        return subject.algorithm.differentiated(problem, point, task)

    def inner(point: Tensor) -> Tensor:
        return problem.inner_loss(point, subject.theta, task.support)

    of = outer
    if not gradient.any() and isinstance(subject.algorithm, Algorithm):
        of, at = inner, problem.init(subject.theta)
        given = problem.inner_loss, at, subject.theta, task.support
        loss, gradient, _ = derivatives.value_and_gradients(*given)
    finite = torch.isfinite(gradient).all() and torch.isfinite(loss)
    if not (finite and gradient.any() and loss):
        return None
    move = RELATIVE_CHANGE * float(loss.abs() / (gradient @ gradient)) * gradient
    if move.norm() < LEAST_MOVE * at.norm():  # so large a gradient that theta hardly moves
        return None
    if of(at + move) != of(at):
        return None
    return Row("check", of="resolution", value=RELATIVE_CHANGE, status="reduced_precision")


def _symmetry(subject: Subject, tasks: Task, how: str) -> Row:
    """Compare <u, Hv> with <v, Hu> for the Hessian of the inner loss where adaptation starts."""
    problem = subject.problem
    generator = torch.Generator().manual_seed(1)
    pair = torch.randn(2, problem.layouts.phi.size, generator=generator, dtype=torch.float64)
    u, v = pair.to(subject.theta)

    def products(theta: Tensor, task: Task) -> tuple[Tensor, Tensor]:
        phi = problem.init(theta)
        _, times = derivatives.gradient_with_products(problem.inner_loss, phi, theta, task.support)
        return u @ times(v)[0], v @ times(u)[0]

    try:
        one, other = replace(subject.compute, batching=how).per_task(products)(subject.theta, tasks)
    except RuntimeError:  # no second derivative; an estimator that needs one was refused before
        return _missing_check("Hessian symmetry")
    size = float(one.abs().sum())
    error = float((one - other).abs().sum())
    return _check("Hessian symmetry", error / size if size else error)


def _largest_error(found: Tensor, expected: Tensor) -> float:
    """Return the largest relative difference over tasks; NaN equals NaN."""
    found, expected = found.detach(), expected.detach()  # a user's estimator may keep its graph
    if torch.equal(found.nan_to_num(), expected.nan_to_num()):
        return 0.0
    size = expected.norm(dim=1)
    return float(((found - expected).norm(dim=1) / torch.where(size > 0, size, 1)).max())


def _check(name: str, error: float, verdict: str = "wrong") -> Row:
    if error != error or error == float("inf"):
        return Row("check", of=name, status="diverged")
    return Row("check", of=name, value=error, status="ok" if error <= LIMITS[name] else verdict)


def _missing_check(name: str) -> Row:
    return Row("check", of=name, status="withheld")
