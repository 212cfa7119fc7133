"""The lowest precision in which an estimate computes anything, as torch's dispatcher sees it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves

from metabench.algorithms.base import Algorithm, MetaGrad
from metabench.autodiff import derivatives
from metabench.autodiff.difference_error_bounds import resolved_slopes
from metabench.autodiff.operation_watch import OperationWatch
from metabench.estimation.vectorization import first_task
from metabench.probes.verify.limits import RESOLUTION
from metabench.problems.tasks import Task
from metabench.records.rows import Row

if TYPE_CHECKING:
    from metabench.estimation.estimator_on_tasks import Subject

HALF = (torch.float16, torch.bfloat16)
FEWEST_ENTRIES = 8  # that differ: fewer may be numbers of half precision by chance
LEAST_MOVE = 1e-9  # of |theta|: float64 represents a smaller move to few digits only
RESOLVED = 1e-3  # relative error of slopes that no loss in half precision allows
RELATIVE_CHANGE = 1e-6  # of the loss: float32 resolves it, float16 and bfloat16 don't


class Precision(NamedTuple):
    """The lowest precision seen, and the first operation that gave it."""

    dtype: torch.dtype
    operation: str  # such as `mm`

    @property
    def unit(self) -> float:
        """Its round-off, relative."""
        return torch.finfo(self.dtype).eps


def lowest_precision(subject: Subject, tasks: Task) -> Precision:
    """Return the lowest precision of any tensor that the estimate of the first task makes.

    Args:
        subject: with theta in the precision to compare with, float64.
        tasks: with a leading axis.
    """
    found = [Precision(subject.theta.dtype, "")]

    def watch(operation: Any, args: Sequence[Any], kwargs: Mapping[str, Any], result: Any) -> None:
        name = str(operation).removeprefix("aten.").partition(".")[0]
        if name == "lift_fresh" or not _floating((args, kwargs)):  # a constant is no computation
            return
        for leaf in _floating(result):
            if torch.finfo(leaf.dtype).eps > found[0].unit:
                found[0] = Precision(leaf.dtype, name)

    with OperationWatch(watch):
        subject.algorithm(subject.problem, subject.theta, first_task(tasks))
    return found[0]


def unit_of_loss(
    losses: Callable[[Tensor], Tensor],
    theta: Tensor,
    scale: Tensor,
    along: Sequence[Tensor],
    lowest: Precision,
) -> float:
    """Return the round-off of the lowest precision in which the loss, not the gradient, is taken.

    Half precision is that of the gradient alone where differences resolve the loss beyond it.

    Args:
        losses: `(Q,) -> (T,)`.
        theta: where, `(Q,)`.
        scale: the size of slope that is expected, `(T,)`.
        along: unit vectors, `(Q,)` each.
        lowest: the lowest precision seen in the estimate.
    """
    if lowest.dtype not in HALF:
        return lowest.unit
    single = torch.finfo(torch.float32).eps
    errors = [resolved_slopes(losses, theta, v, scale, single).error / scale for v in along]
    return single if bool((torch.stack(errors) <= RESOLVED).all()) else lowest.unit


def reduced_precision(
    subject: Subject, tasks: Task, found: MetaGrad, lowest: Precision
) -> list[Row]:
    """Return rows on a precision below float64 inside, and on half precision that hides changes.

    Args:
        subject: at a theta in float64.
        tasks: with a leading axis.
        found: the estimates of these tasks.
        lowest: as `lowest_precision` gave it.
    """
    if lowest.dtype == torch.float64:
        return []
    dtype = str(lowest.dtype).removeprefix("torch.")
    seen = Row("lowest_precision", of=f"{dtype}: {lowest.operation}", status="info")
    stored = _stored_in_half(found.grad) if lowest.dtype in HALF else []
    if lowest.dtype not in HALF or not _loses_small_changes(subject, tasks, found):
        return [seen, *stored]
    return [
        seen,
        *stored,
        Row("check", of=RESOLUTION, value=RELATIVE_CHANGE, status="reduced_precision"),
    ]


def _stored_in_half(grads: Tensor) -> list[Row]:
    """Return a row if every entry of the gradients is a number of half precision."""
    if len(set(grads[grads != 0].tolist())) < FEWEST_ENTRIES or not torch.isfinite(grads).all():
        return []
    for dtype in reversed(HALF):
        if torch.equal(grads.to(dtype).to(grads), grads):
            name, rounding = str(dtype).removeprefix("torch."), torch.finfo(dtype).eps / 2
            return [Row("half_gradient", of=name, value=rounding, status="imprecise")]
    return []


def _loses_small_changes(subject: Subject, tasks: Task, found: MetaGrad) -> bool:
    """Return whether the loss misses a change of theta that should move it by 1e-6 of itself.

    Where the meta-gradient is zero, the inner loss at phi_0 is tested instead.
    """
    problem, task = subject.problem, first_task(tasks)
    at, loss, grad = subject.theta, found.loss[0], found.grad[0]

    def outer(point: Tensor) -> Tensor:
        return subject.algorithm.differentiated(problem, point, task)

    def inner(point: Tensor) -> Tensor:
        return problem.inner_loss(point, subject.theta, task.support)

    of = outer
    if not grad.any() and isinstance(subject.algorithm, Algorithm):
        of, at = inner, problem.init(subject.theta)
        given = problem.inner_loss, at, subject.theta, task.support
        loss, grad, _ = derivatives.value_and_gradients(*given)
    if not (torch.isfinite(grad).all() and grad.any() and torch.isfinite(loss) and loss):
        return False
    move = RELATIVE_CHANGE * float(loss.abs() / (grad @ grad)) * grad
    if move.norm() < LEAST_MOVE * at.norm():  # so steep that there is hardly a move
        return False
    return bool(of(at + move) == of(at))


def _floating(tree: Any) -> list[Tensor]:
    return [x for x in tree_leaves(tree) if isinstance(x, Tensor) and x.is_floating_point()]
