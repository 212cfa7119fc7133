"""Measure the constants at theta, and hold the theory's bounds against what they bound."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch

from metabench.autodiff.operation_counts import work_of
from metabench.estimation.vectorization import count_tasks, first_task
from metabench.linalg.spectra import Effort
from metabench.probes.base import Progress
from metabench.probes.constants import bounds, moments
from metabench.probes.constants.iteration_bound import bound, numbers, walk
from metabench.probes.constants.measure_hessians import curved, meta_curvature
from metabench.probes.constants.moments import FEWEST, Numbers
from metabench.probes.constants.multi_set_estimates import draw, estimate_sets, leaf_of
from metabench.probes.constants.setting import Setting, assumptions, setting_of
from metabench.problems.tasks import Address, Task, tree_map
from metabench.records.rows import Row, row
from metabench.stats.intervals import Interval

if TYPE_CHECKING:
    from metabench.estimation.estimator_on_tasks import Subject
    from metabench.probes.constants import Constants

PRODUCTS = 60  # times the work of a task's moments that its Hessians take, or so
SAMPLE, CURVED = 32, 8  # tasks of either, whatever they cost
SETS = 4  # of a task, if so many tasks are beyond the budget
COARSE = Effort(tolerance=5e-2, steps=30, nodes=0, exact=64)  # of Hessians, then
STAGES = 4  # of progress: Hessians, moments, the meta-Hessian, the walk


def measure(probe: Constants, subject: Subject, seed: int, progress: Progress) -> list[Row]:
    """Measure in float64: curvature first, for it says which inner rates the theory covers."""
    subject = subject.at(subject.theta.to(torch.float64))
    first = Address.fresh(0, 1)
    setting = setting_of(subject, probe.redrawn_tasks, seed, subject.draw(first, seed))
    one = first_task(draw(subject, first, seed, setting.sets))
    flops = max(work_of(estimate_sets, setting.problem, 0.0, setting.theta, one).flops, 1)
    if SAMPLE * flops > probe.budget and setting.sets > SETS:
        flops = flops * SETS // setting.sets
        setting = setting._replace(sets=SETS)
    count = min(probe.tasks, max(SAMPLE, int(probe.budget / flops)))
    curves = min(probe.hessians, count, max(CURVED, int(probe.budget / (PRODUCTS * flops))))
    if CURVED * PRODUCTS * flops > probe.budget:
        setting = setting._replace(effort=COARSE)
    tasks = draw(subject, Address.fresh(0, count), seed, setting.sets)
    some: Task = tree_map(lambda leaf: leaf[:curves], tasks)
    examples = leaf_of(tasks.support[0]).shape[1]
    found = curved(setting, some, seed)
    progress(1, STAGES)
    rows = [Row("tasks", value=float(count)), Row("tasks", of="Hessians", value=float(curves))]
    if (count, curves) != (probe.tasks, min(probe.hessians, probe.tasks)):
        rows.append(Row("reduced", of="sets", value=float(setting.sets), status="info"))
    if setting.effort == COARSE:
        rows.append(Row("reduced", of="tolerance", value=COARSE.tolerance, status="info"))
    rows += [*assumptions(setting), *bounds.curvature_rows(found, examples)]
    L, rho = bounds.lipschitz(found), bounds.hessian_lipschitz(found)
    if L is None:
        return rows
    rows = [*bounds.assumed(setting.rate, found, rows), *rows, *bounds.many_steps(found, setting)]
    rates = bounds.rates(setting, L)
    looks = {rate: numbers(setting, rate, setting.theta, tasks) for rate in rates or [0.0]}
    near = next(iter(looks.values()))
    rows += moments.variances(near, setting.sets, examples)
    if setting.start:
        rows += moments.floor(looks[rates[0]] if rates else near, setting.sets, probe.batch)
    progress(2, STAGES)
    if setting.start and setting.loop is not None:
        for rate in rates:
            covered = rate * L <= bounds.COVERED * bounds.ROUND_OFF
            rows += moments.held(rate, looks[rate], setting.sets, covered)
        rows += _smooth(setting, some, rates, looks, (L, rho), seed)
        progress(3, STAGES)
        rows += _iterations(probe, subject, setting, seed, looks, (L, rho), tasks)
    progress(STAGES, STAGES)
    return rows


def _smooth(
    setting: Setting,
    some: Task,
    rates: list[float],
    looks: dict[float, Numbers],
    constants: tuple[float, float | None],
    seed: int,
) -> list[Row]:
    """Hold the meta-Hessian against its bound, at each rate."""
    if not setting.third:
        return [Row("smoothness", at=rate, of="measured", status="withheld") for rate in rates]
    L, rho = constants
    rows = []
    for rate in rates:
        if not looks[rate].finite:
            rows.append(Row("smoothness", at=rate, of="measured", status="diverged"))
            continue
        size = float(moments.sizes(looks[rate], setting.sets).mean())
        found = meta_curvature(setting, some, rate, seed)
        covered = rate * L <= 1
        rows += bounds.smoothness(rate, L, rho if covered else None, size, found)
    return rows


def _iterations(
    probe: Constants,
    subject: Subject,
    setting: Setting,
    seed: int,
    looks: dict[float, Numbers],
    constants: tuple[float, float | None],
    tasks: Task,
) -> list[Row]:
    """Hold the steps that the theory allows against those that its own method takes."""
    L, rho = constants
    rate = min(looks)
    if rho is None or L <= 0 or setting.sets == 1 or count_tasks(tasks) < FEWEST:
        return [Row("iterations", at=rate, of="bound", status="withheld")]
    if rate * L > bounds.COVERED * bounds.ROUND_OFF or not looks[rate].finite:
        return [Row("iterations", at=rate, of="bound", status="withheld")]
    found = looks[rate]
    sigma = math.sqrt(max(moments.spread(found, setting.sets).value, 0.0))
    allowed, epsilon = bound(probe, rate, found, (L, rho, sigma))
    if allowed.value is None or not probe.run:
        return [allowed]
    smooth = 4 * L + 2 * rho * rate * float(moments.sizes(found, setting.sets).mean())
    taken = walk(probe, subject, setting, seed, rate, smooth, epsilon, tasks)
    rows = [Row("epsilon", at=rate, value=epsilon), allowed, taken]
    if taken.value:
        low = allowed.value / taken.high if taken.high else math.nan
        high = allowed.value / taken.low if taken.low else math.inf
        slack = Interval(allowed.value / taken.value, low, high)
        rows.append(row("slack", slack, at=rate, of="iterations"))
    return rows
