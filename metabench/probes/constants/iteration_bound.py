"""How many outer steps does it take, at the theory's own rate and with its own estimator?"""

from __future__ import annotations

import math
from functools import partial
from typing import TYPE_CHECKING

from metabench.probes.constants.moments import Numbers
from metabench.probes.constants.multi_set_estimates import draw, estimate_sets, estimate_single_sets
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

OUTER = 12.0  # the outer rate is 1 / (12 L(w)) [1]
TASKS = 64  # of an outer step
LOOKED = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)  # steps after which |grad F| is estimated
CONSTANT = 1600.0  # of the iteration bound


def numbers(setting: Setting, rate: float, theta: Tensor, tasks: Task) -> Numbers:
    """Look at all tasks at one inner rate, from theta."""
    run = setting.compute.per_task(partial(estimate_sets, setting.problem, rate))
    found = run(theta, tasks)
    return Numbers(*(part.detach().double().cpu().numpy() for part in found))


def bound(
    probe: Constants, rate: float, found: Numbers, constants: tuple[float, float, float]
) -> tuple[Row, float]:
    """Give T <= Delta 1600 (L + rho alpha (sigma + epsilon)) / epsilon^2, and epsilon."""
    L, rho, sigma = constants
    size = squared_norm_interval(found.whole)
    gap = float(found.loss.mean()) - probe.floor
    if not size.low > 0 or not gap > 0:
        status = "unresolved" if not size.low > 0 else "withheld"
        return Row("iterations", at=rate, of="bound", status=status), 0.0
    epsilon = probe.precision * math.sqrt(size.value)
    steps = gap * CONSTANT * (L + rho * rate * (sigma + epsilon)) / epsilon**2
    return Row("iterations", at=rate, of="bound", value=steps, status="at least"), epsilon


def walk(
    probe: Constants, subject: Subject, setting: Setting, seed: int, rate: float, smooth: float,
    epsilon: float, held: Task,
) -> Row:  # fmt: skip
    """Count plain outer steps at rate 1 / (12 L(w)) until |grad F| is epsilon.

    The interval runs from the last look at which |grad F| was above epsilon, by its own interval,
    to the first at which it was below; `unreached` if it never was.
    """
    theta, beta = setting.theta, 1 / (OUTER * smooth)
    one = subject.compute.per_task(partial(estimate_single_sets, setting.problem, rate))
    looked = [t for t in LOOKED if t < probe.run] + [probe.run]
    low, value = 0.0, math.inf
    for t in range(1, probe.run + 1):
        address = Address.fresh(probe.tasks + (t - 1) * TASKS, TASKS)
        theta = theta - beta * one(theta, draw(subject, address, seed, 2)).mean(0)
        if t not in looked:
            continue
        there = numbers(setting, rate, theta, held).whole
        size = squared_norm_interval(there)
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
