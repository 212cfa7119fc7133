"""The theory's bound on outer steps, and the steps that its own method and rate need."""

from __future__ import annotations

import math
from functools import partial
from typing import TYPE_CHECKING

from metabench.probes.constants.moments import InnerStepEstimates
from metabench.probes.constants.multi_set_estimates import (
    draw,
    estimate_sets,
    single_set_meta_gradient,
)
from metabench.problems.tasks import Address
from metabench.records.rows import Row, row
from metabench.stats.intervals import Interval
from metabench.stats.mean_intervals import squared_norm_interval

if TYPE_CHECKING:
    from torch import Tensor

    from metabench.estimation.estimator_on_tasks import Subject
    from metabench.probes.constants import Constants
    from metabench.probes.constants.setting import Setting
    from metabench.problems.tasks import Task

OUTER_RATE_FACTOR = 12.0  # the outer rate is 1 / (12 L(w)) [1]
TASKS_PER_STEP = 64  # of an outer step
CHECKED_STEPS = (
    1,
    2,
    5,
    10,
    20,
    50,
    100,
    200,
    500,
    1000,
)  # steps after which |grad F| is estimated
BOUND_FACTOR = 1600.0  # of the iteration bound


def estimate_at_rate(
    setting: Setting, rate: float, theta: Tensor, tasks: Task
) -> InnerStepEstimates:
    """Return the estimates of all tasks at one inner rate.

    Args:
        setting: the problem.
        rate: the inner rate.
        theta: where adaptation starts, `(P,)`.
        tasks: T tasks with several sets.
    """
    run = setting.compute.per_task(partial(estimate_sets, setting.problem, rate))
    found = run(theta, tasks)
    return InnerStepEstimates(*(part.detach().double().cpu().numpy() for part in found))


def bound(
    probe: Constants, rate: float, found: InnerStepEstimates, constants: tuple[float, float, float]
) -> tuple[Row, float]:
    """Return T <= Delta 1600 (L + rho alpha (sigma + epsilon)) / epsilon^2, and epsilon.

    Args:
        probe: with epsilon as a share of |grad F|, and a lower bound of the loss.
        rate: the inner rate alpha.
        found: estimates at this rate.
        constants: L, rho and sigma.
    """
    L, rho, sigma = constants
    size = squared_norm_interval(found.meta_gradient)
    gap = float(found.loss.mean()) - probe.floor
    if not size.low > 0 or not gap > 0:
        status = "unresolved" if not size.low > 0 else "withheld"
        return Row("iterations", at=rate, of="bound", status=status), 0.0
    epsilon = probe.precision * math.sqrt(size.value)
    steps = gap * BOUND_FACTOR * (L + rho * rate * (sigma + epsilon)) / epsilon**2
    return Row("iterations", at=rate, of="bound", value=steps, status="at least"), epsilon


def count_outer_steps(
    probe: Constants, subject: Subject, setting: Setting, seed: int, rate: float, smooth: float,
    epsilon: float, held: Task,
) -> Row:  # fmt: skip
    """Return a row of the plain outer steps at rate 1 / (12 L(w)) until |grad F| is epsilon.

    The interval runs from the last checked step at which the interval of |grad F| was above
    epsilon to the first at which it was below; the status is `unreached` if it never was.

    Args:
        probe: with the most steps.
        subject: whose tasks are drawn.
        setting: the problem.
        seed: of the tasks.
        rate: the inner rate.
        smooth: L(w).
        epsilon: the norm to be reached.
        held: tasks on which |grad F| is estimated.
    """
    theta, beta = setting.theta, 1 / (OUTER_RATE_FACTOR * smooth)
    one = subject.compute.per_task(partial(single_set_meta_gradient, setting.problem, rate))
    checked = [t for t in CHECKED_STEPS if t < probe.run] + [probe.run]
    low, value = 0.0, math.inf
    for t in range(1, probe.run + 1):
        address = Address.fresh(probe.tasks + (t - 1) * TASKS_PER_STEP, TASKS_PER_STEP)
        theta = theta - beta * one(theta, draw(subject, address, seed, 2)).mean(0)
        if t not in checked:
            continue
        now = estimate_at_rate(setting, rate, theta, held).meta_gradient
        size = squared_norm_interval(now)
        if not math.isfinite(size.value):
            return Row("iterations", at=rate, of="measured", status="diverged")
        value = min(value, t if size.value <= epsilon**2 else math.inf)
        if size.low > epsilon**2:
            low = float(t)
        if size.high <= epsilon**2:
            return row("iterations", Interval(value, min(low, value), t), at=rate, of="measured")
    if math.isfinite(value):
        return row("iterations", Interval(value, low, math.inf), at=rate, of="measured")
    return Row("iterations", at=rate, of="measured", low=low or None, status="unreached")
