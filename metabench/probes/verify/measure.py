"""Checks of the meta-gradient: computations that must agree are run and compared."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves

from metabench.algorithms.base import Algorithm, MetaGrad
from metabench.algorithms.black_box import BlackBox
from metabench.autodiff import derivatives
from metabench.estimation.random_losses import raise_if_random
from metabench.estimation.vectorization import Vectorization, first_task
from metabench.probes.base import Progress
from metabench.probes.verify.declared_difference import as_declared
from metabench.probes.verify.failures import explained
from metabench.probes.verify.limits import (
    DIFFERENCES,
    LIMITS,
    MEAN,
    PRECISION,
    REPEATED,
    SYMMETRY,
)
from metabench.probes.verify.measure_batched import (
    batching_of,
    estimates,
    vmap_against_a_loop,
    with_batching,
)
from metabench.probes.verify.measure_differences import differences, directions
from metabench.probes.verify.measure_implemented import implemented
from metabench.probes.verify.measure_model import model_and_sampler_rows
from metabench.probes.verify.measure_precision import (
    Precision,
    lowest_precision,
    reduced_precision,
    unit_of_loss,
)
from metabench.probes.verify.measure_recognized import implements, recognized
from metabench.probes.verify.measure_round_off import (
    above_round_off,
    check,
    spread_of,
    withheld,
    worst,
)
from metabench.probes.verify.measure_shorter import shorter
from metabench.probes.verify.measure_tasks import (
    facts_on_many_tasks,
    facts_on_redraws,
    facts_on_sets,
)
from metabench.probes.verify.measure_thorough import thorough
from metabench.problems.outside_gradients import refuse_outside_gradients
from metabench.problems.state_between_calls import refuse_state
from metabench.problems.tasks import Address, Task, cast
from metabench.records.rows import Row

if TYPE_CHECKING:
    from metabench.estimation.estimator_on_tasks import Subject
    from metabench.probes.verify import Verify


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
        one = first_task(tasks)
        if isinstance(subject.algorithm, Algorithm):
            # first, since a call may set the state that it looks for
            refuse_state(subject.problem, subject.theta, one)
            raise_if_random(subject.problem, subject.theta, one)
        alone = estimates(subject, tasks, "loop")
        subject.algorithm.check(subject.problem, subject.theta, one)
        if isinstance(subject.algorithm, Algorithm):
            refuse_outside_gradients(subject.problem, subject.theta, one)
    subject = with_batching(subject, tasks)
    progress(1, 2)
    rows = [
        *model_and_sampler_rows(subject, one),
        *_not_finite(subject, tasks, alone),
        *facts_on_sets(subject, tasks),
        *facts_on_redraws(subject, seed),
        *(facts_on_many_tasks(subject, seed) if probe.thorough else ()),
        _zero(alone.grad),
        _saddle(alone),
        *_checks(probe, subject, tasks, alone),
    ]
    progress(2, 2)
    return as_declared([row for row in rows if row is not None], subject.problem.differs)


def _not_finite(subject: Subject, tasks: Task, found: MetaGrad) -> list[Row]:
    """Return rows on what is not finite: theta's layers, tasks' tensors, losses, meta-gradients."""
    layout = subject.problem.layouts.theta
    rows = [
        Row("not_finite", of=f"theta: {name}", status="diverged")
        for name, part in layout.segments()
        if not torch.isfinite(subject.theta[part]).all()
    ]
    for name, data in (("support", tasks.support), ("query", tasks.query)):
        leaves = [each for each in tree_leaves(data) if torch.is_floating_point(each)]
        bad = [~torch.isfinite(each.reshape(len(each), -1)).all(1) for each in leaves]
        hit = torch.stack(bad).any(0).nonzero()[:, 0].tolist() if bad else []
        rows += [Row("not_finite", at=i, of=f"{name} set", status="diverged") for i in hit]
    lost = (~torch.isfinite(found.grad).all(1)).nonzero()[:, 0].tolist()
    share = len(lost) / len(found.grad)
    if lost:
        rows.append(Row("not_finite", of="meta-gradient", value=share, status="diverged"))
    return rows


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
    how = batching_of(subject)
    try:
        double = estimates(exact, tasks, "loop")
    except (RuntimeError, TypeError, ValueError):  # code that fixes a dtype
        double = alone
    if double.grad.dtype != torch.float64:
        found = alone._replace(grad=alone.grad.double())
        lowest = Precision(subject.theta.dtype, "")
        return [*rows, *_differences(probe, subject, cast(tasks, subject.theta), found, lowest)]
    lowest = lowest_precision(exact, tasks)
    if isinstance(exact.algorithm, BlackBox) and exact.algorithm.batched:
        rows.append(_mean(exact, exact.algorithm, tasks, double))
    rows.append(check(PRECISION, worst(alone.grad.double(), double.grad), "imprecise"))
    spread = _spread(exact, tasks, double, lowest)
    if how == "vmap" and not subject.algorithm.loops:
        row = vmap_against_a_loop(exact, tasks, double)
        rows.append(row if row.value is None else above_round_off(row, spread))
        how = "loop" if row.value is None else how
    rows += _differences(probe, exact, tasks, double, lowest)
    rows += reduced_precision(exact, tasks, double, lowest)
    if isinstance(subject.algorithm, Algorithm):
        rows.append(_symmetry(exact, tasks, how, lowest))
    if meant := implements(subject):
        rows += implemented(exact, meant, tasks, double, spread)
    if probe.thorough:
        rows += thorough(exact, tasks, double, spread, lowest.unit)
        rows += shorter(exact, tasks, probe.directions, lowest.unit, rows)
        rows += recognized(probe, exact, tasks, double, rows)
    return rows


def _spread(
    subject: Subject, tasks: Task, found: MetaGrad, lowest: Precision
) -> Callable[[], float]:
    """Measure, at most once, how far the estimates move with the last digits of theta."""

    @functools.cache
    def spread() -> float:
        def compute(theta: Tensor) -> Tensor:
            return estimates(subject.at(theta), tasks, "loop").grad

        return spread_of(compute, subject.theta, found.grad, lowest.unit)

    return spread


def _repeat(subject: Subject, tasks: Task, alone: MetaGrad) -> Row:
    again = estimates(subject, tasks, "loop").grad
    return check(REPEATED, worst(again, alone.grad), "random")


def _mean(subject: Subject, estimator: BlackBox, tasks: Task, alone: MetaGrad) -> Row:
    whole = estimator.estimate(subject.problem, subject.theta, tasks).grad
    error = worst(whole[None], alone.grad.mean(0, keepdim=True))
    of_sum = worst(whole[None], alone.grad.sum(0, keepdim=True))
    summed = len(alone.grad) > 1 and of_sum < min(error, LIMITS[MEAN])
    return check(MEAN, error, "sum" if summed else "tasks_interact")


def _differences(
    probe: Verify, subject: Subject, tasks: Task, found: MetaGrad, lowest: Precision
) -> list[Row]:
    """Hold the claimed slope along random directions against differences of the reported loss."""
    algorithm = subject.algorithm
    black_box = isinstance(algorithm, BlackBox)
    status = _not_comparable(found, black_box)
    if status:
        return [Row("check", of=DIFFERENCES, status=status)]
    engine = "eager" if subject.compute.looped_because else "auto"
    loss = Vectorization("loop", engine=engine).per_task(
        lambda theta, task: algorithm.differentiated(subject.problem, theta, task)
    )
    if not algorithm.exact and loss(subject.theta, tasks).isnan().all():
        return [Row("check", of=DIFFERENCES, status="open")]  # the gradient of no loss, by design
    count, theta = len(subject.theta), subject.theta.double()
    size = found.grad.norm(dim=1) / count**0.5
    size = torch.where(size > 0, size, 1)
    along = directions(count, probe.directions, theta)

    def losses(at: Tensor) -> Tensor:  # in the subject's dtype, which some code fixes
        values: Tensor = loss(at.to(subject.theta), tasks)
        return values.to(theta.dtype)

    unit = unit_of_loss(losses, theta, size, along[:2], lowest)
    judged = differences(losses, theta, found.grad, size, along, unit)
    if not (algorithm.exact or black_box):  # off by design: reported, not judged
        status = judged.status if judged.status in ("kink", "unresolved") else "approximate"
        return [judged._replace(status=status).row()]
    row = judged.row("mismatch" if black_box else "wrong")
    if judged.status != "wrong" or judged.factor != judged.factor:
        return [row]
    return [row, Row("factor", of=DIFFERENCES, value=judged.factor)]


def _not_comparable(found: MetaGrad, black_box: bool) -> str:
    """Return why there is no slope to compare, "" if there is one."""
    loss, grad = (bool(torch.isfinite(values).all()) for values in (found.loss, found.grad))
    if black_box and found.loss.isnan().all():
        return "withheld"
    if not (loss and grad):
        return "not finite" if black_box and loss else "diverged"
    return "" if found.grad.any() else "withheld"


def _symmetry(subject: Subject, tasks: Task, how: str, lowest: Precision) -> Row:
    """Compare <u, Hv> with <v, Hu> for the Hessian of the inner loss where adaptation starts."""
    problem = subject.problem
    generator = torch.Generator().manual_seed(1)
    pair = torch.randn(2, problem.layouts.phi.size, generator=generator, dtype=torch.float64)
    u, v = pair.to(subject.theta)

    def products(theta: Tensor, task: Task) -> tuple[Tensor, Tensor]:
        phi = problem.init(theta)
        _, times = derivatives.gradient_with_products(problem.inner_loss, phi, theta, task.support)
        return u @ times(v)[0], v @ times(u)[0]

    per_task = replace(subject.compute, batching=how).per_task(products)
    try:
        one, other = per_task(subject.theta, tasks)
    except RuntimeError:  # no second derivative; an estimator that needs one was refused before
        return withheld(SYMMETRY)

    def spread() -> float:
        def compute(theta: Tensor) -> Tensor:
            products: Tensor = per_task(theta, tasks)[0]
            return products[:, None]

        return spread_of(compute, subject.theta, one[:, None], lowest.unit)

    size = float(one.abs().sum())
    error = float((one - other).abs().sum())
    return above_round_off(check(SYMMETRY, error / size if size else error), spread)
