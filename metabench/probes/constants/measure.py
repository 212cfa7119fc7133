"""Measurement of the theory's constants at theta, and of the quantities that it bounds."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch

from metabench.autodiff.operation_counts import work_of
from metabench.estimation.inputs_not_finite import inputs_not_finite
from metabench.estimation.vectorization import count_tasks, first_task
from metabench.linalg.spectra import Effort
from metabench.probes.base import Progress
from metabench.probes.constants import bounds, moments
from metabench.probes.constants.iteration_bound import bound, count_outer_steps, estimate_at_rate
from metabench.probes.constants.measure_hessians import estimate_hessians, meta_hessian_spectrum
from metabench.probes.constants.moments import FEWEST_TASKS, InnerStepEstimates
from metabench.probes.constants.multi_set_estimates import draw, estimate_sets, leaf_of
from metabench.probes.constants.setting import Setting, known_assumptions, read_setting
from metabench.problems.tasks import Address, Task, tree_map
from metabench.records.rows import Row, row
from metabench.stats.intervals import Interval

if TYPE_CHECKING:
    from metabench.estimation.estimator_on_tasks import Subject
    from metabench.probes.constants import Constants

HESSIAN_COST = 60  # of a task, in units of the operations of its moments, roughly
FEWEST_MOMENT_TASKS, FEWEST_HESSIANS = 32, 8  # measured even beyond the budget
SETS_OVER_BUDGET = 4  # of a task, if the fewest tasks are beyond the budget
COARSE_EFFORT = Effort(tolerance=5e-2, steps=30, nodes=0, exact=64)  # of Hessians beyond the budget
STAGES = 4  # of progress: Hessians, moments, the meta-Hessian, the outer steps


def measure(probe: Constants, subject: Subject, seed: int, progress: Progress) -> list[Row]:
    """Return the rows of all constants and bounds, in float64.

    Curvature comes first: it gives the inner rates that the theory covers.

    Args:
        probe: its settings.
        subject: whose problem and algorithm are measured.
        seed: of the tasks.
        progress: is called with the stages done and all stages.
    """
    subject = subject.at(subject.theta.to(torch.float64))
    first = Address.fresh(0, 1)
    setting = read_setting(subject, probe.redrawn_tasks, seed, subject.draw(first, seed))
    one = first_task(draw(subject, first, seed, setting.sets))
    flops = max(work_of(estimate_sets, setting.problem, 0.0, setting.theta, one).flops, 1)
    if FEWEST_MOMENT_TASKS * flops > probe.budget and setting.sets > SETS_OVER_BUDGET:
        flops = flops * SETS_OVER_BUDGET // setting.sets
        setting = setting._replace(sets=SETS_OVER_BUDGET)
    count = min(probe.tasks, max(FEWEST_MOMENT_TASKS, int(probe.budget / flops)))
    curves = min(
        probe.hessians, count, max(FEWEST_HESSIANS, int(probe.budget / (HESSIAN_COST * flops)))
    )
    if FEWEST_HESSIANS * HESSIAN_COST * flops > probe.budget:
        setting = setting._replace(effort=COARSE_EFFORT)
    tasks = draw(subject, Address.fresh(0, count), seed, setting.sets)
    some: Task = tree_map(lambda leaf: leaf[:curves], tasks)
    examples = leaf_of(tasks.support[0]).shape[1]
    found = estimate_hessians(setting, some, seed)
    progress(1, STAGES)
    rows = [Row("tasks", value=float(count)), Row("tasks", of="Hessians", value=float(curves))]
    rows += inputs_not_finite(subject, Address.fresh(0, count), seed)
    if (count, curves) != (probe.tasks, min(probe.hessians, probe.tasks)):
        rows.append(Row("reduced", of="sets", value=float(setting.sets), status="info"))
    if setting.effort == COARSE_EFFORT:
        rows.append(Row("reduced", of="tolerance", value=COARSE_EFFORT.tolerance, status="info"))
    rows += [*known_assumptions(setting), *bounds.curvature_rows(found, examples)]
    L, rho = bounds.lipschitz(found), bounds.hessian_lipschitz(found)
    if L is None:
        return rows
    checked = bounds.measured_assumptions(setting.rate, found, rows)
    rows = [*checked, *rows, *bounds.many_steps(found, setting)]
    rates = bounds.rates(setting, L)
    at_rate = {
        rate: estimate_at_rate(setting, rate, setting.theta, tasks) for rate in rates or [0.0]
    }
    near = next(iter(at_rate.values()))
    rows += moments.variances(near, setting.sets, examples)
    if setting.start:
        rows += moments.floor(at_rate[rates[0]] if rates else near, setting.sets, probe.batch)
    progress(2, STAGES)
    if setting.start and setting.loop is not None:
        for rate in rates:
            covered = rate * L <= bounds.LARGEST_ALPHA_L * bounds.ROUND_OFF
            rows += moments.moment_bounds(rate, at_rate[rate], setting.sets, covered)
        rows += _smoothness(setting, some, rates, at_rate, (L, rho), seed)
        progress(3, STAGES)
        rows += _iterations(probe, subject, setting, seed, at_rate, (L, rho), tasks)
    progress(STAGES, STAGES)
    return rows


def _smoothness(
    setting: Setting,
    some: Task,
    rates: list[float],
    at_rate: dict[float, InnerStepEstimates],
    constants: tuple[float, float | None],
    seed: int,
) -> list[Row]:
    """Return rows of the meta-Hessian's norm and its bound at each rate."""
    if not setting.third:
        return [Row("smoothness", at=rate, of="measured", status="withheld") for rate in rates]
    L, rho = constants
    rows = []
    for rate in rates:
        if not at_rate[rate].finite:
            rows.append(Row("smoothness", at=rate, of="measured", status="diverged"))
            continue
        size = float(moments.sizes(at_rate[rate], setting.sets).mean())
        found = meta_hessian_spectrum(setting, some, rate, seed)
        covered = rate * L <= 1
        rows += bounds.smoothness(rate, L, rho if covered else None, size, found)
    return rows


def _iterations(
    probe: Constants,
    subject: Subject,
    setting: Setting,
    seed: int,
    at_rate: dict[float, InnerStepEstimates],
    constants: tuple[float, float | None],
    tasks: Task,
) -> list[Row]:
    """Return rows of the iteration bound, and of the steps of the theory's own method."""
    L, rho = constants
    rate = min(at_rate)
    if rho is None or L <= 0 or setting.sets == 1 or count_tasks(tasks) < FEWEST_TASKS:
        return [Row("iterations", at=rate, of="bound", status="withheld")]
    if rate * L > bounds.LARGEST_ALPHA_L * bounds.ROUND_OFF or not at_rate[rate].finite:
        return [Row("iterations", at=rate, of="bound", status="withheld")]
    found = at_rate[rate]
    sigma = math.sqrt(max(moments.spread(found, setting.sets).value, 0.0))
    allowed, epsilon = bound(probe, rate, found, (L, rho, sigma))
    if allowed.value is None or not probe.run:
        return [allowed]
    smooth = 4 * L + 2 * rho * rate * float(moments.sizes(found, setting.sets).mean())
    taken = count_outer_steps(probe, subject, setting, seed, rate, smooth, epsilon, tasks)
    rows = [Row("epsilon", at=rate, value=epsilon), allowed, taken]
    if taken.value:
        low = allowed.value / taken.high if taken.high else math.nan
        high = allowed.value / taken.low if taken.low else math.inf
        slack = Interval(allowed.value / taken.value, low, high)
        rows.append(row("slack", slack, at=rate, of="iterations"))
    return rows
