"""Checks of the meta-gradient: computations that must agree are run and compared."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from metabench.algorithms.base import Algorithm, MetaGrad
from metabench.algorithms.black_box import BlackBox
from metabench.estimation.explained_errors import explained
from metabench.estimation.random_losses import raise_if_random
from metabench.estimation.vectorization import first_task
from metabench.probes.base import Progress
from metabench.probes.verify.declared_difference import as_declared
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
from metabench.probes.verify.measure_claimed_slopes import claimed_slopes
from metabench.probes.verify.measure_implemented import implemented
from metabench.probes.verify.measure_model import model_and_sampler_rows
from metabench.probes.verify.measure_own_derivatives import own_derivatives
from metabench.probes.verify.measure_precision import (
    Precision,
    lowest_precision,
    reduced_precision,
)
from metabench.probes.verify.measure_recognized import implements, recognized
from metabench.probes.verify.measure_round_off import (
    above_round_off,
    check,
    spread_of,
    worst,
)
from metabench.probes.verify.measure_sampled import sampled_rows
from metabench.probes.verify.measure_shorter import shorter
from metabench.probes.verify.measure_symmetry import symmetry
from metabench.probes.verify.measure_tasks import (
    facts_on_many_tasks,
    facts_on_redraws,
    facts_on_sets,
)
from metabench.probes.verify.measure_thorough import thorough
from metabench.probes.verify.measure_values import not_finite, saddle, zero
from metabench.probes.verify.out_of_time import unmade
from metabench.problems.require_function import require_function
from metabench.problems.tasks import Address, Task, cast
from metabench.records.rows import Row
from metabench.settings.alarms import TimeUp

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
            require_function(subject.problem, subject.theta, one)
            raise_if_random(subject.problem, subject.theta, one)
        alone = estimates(subject, tasks, "loop")
        subject.algorithm.check(subject.problem, subject.theta, one)
    subject = with_batching(subject, tasks)
    progress(1, 2)
    facts = [
        *model_and_sampler_rows(subject, one),
        *not_finite(subject, tasks, alone),
        *facts_on_sets(subject, tasks),
        *facts_on_redraws(subject, seed),
        zero(alone.grad),
        saddle(alone),
    ]
    checks: list[Row | None] = []
    try:
        _check(probe, subject, tasks, alone, checks)
        if probe.thorough:
            facts += facts_on_many_tasks(subject, seed)
            facts += sampled_rows(subject, seed, probe.tasks)
    except TimeUp:
        if not checks:
            raise
        checks += unmade(subject, probe.thorough, checks)
    progress(2, 2)
    rows = [row for row in (*facts, *checks) if row is not None]
    if any(row.status == "wrong" and row.of in (DIFFERENCES, SYMMETRY) for row in rows):
        rows += own_derivatives(subject, one)
    return as_declared(rows, subject.problem.differs)


def _check(
    probe: Verify, subject: Subject, tasks: Task, alone: MetaGrad, rows: list[Row | None]
) -> None:
    """Append the rows of the checks, so that those made are kept where the time is up.

    Args:
        probe: how many directions, and whether to be thorough.
        subject: whose meta-gradient is checked.
        tasks: with a leading axis.
        alone: the estimates of these tasks.
        rows: to append to.
    """
    rows.append(_repeat(subject, tasks, alone))
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
        rows += claimed_slopes(probe, subject, cast(tasks, subject.theta), found, lowest)
        return
    lowest = lowest_precision(exact, tasks)
    if isinstance(exact.algorithm, BlackBox) and exact.algorithm.batched:
        rows.append(_mean(exact, exact.algorithm, tasks, double))
    rows.append(check(PRECISION, worst(alone.grad.double(), double.grad), "imprecise"))
    spread = _spread(exact, tasks, double, lowest)
    if how == "vmap" and not subject.algorithm.loops:
        row = vmap_against_a_loop(exact, tasks, double)
        rows.append(row if row.value is None else above_round_off(row, spread))
        how = "loop" if row.value is None else how
    rows += claimed_slopes(probe, exact, tasks, double, lowest)
    rows += reduced_precision(exact, tasks, double, lowest)
    if isinstance(subject.algorithm, Algorithm):
        rows.append(symmetry(exact, tasks, how, lowest))
    if meant := implements(subject):
        rows += implemented(exact, meant, tasks, double, spread)
    if probe.thorough:
        rows += thorough(exact, tasks, double, spread, lowest.unit)
        rows += shorter(exact, tasks, probe.directions, lowest.unit, rows)
        rows += recognized(probe, exact, tasks, double, rows)


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
