"""Mean squared error to the true meta-gradient, for tasks, for seconds and for bytes."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from metabench.probes.cost import EXACT, UNROLL
from metabench.problems.tasks import Address
from metabench.records.rows import Row, row
from metabench.stats import paired_estimators
from metabench.stats.intervals import Vector
from metabench.stats.moments import Moments, mean_norm_interval, skewed_variance_interval

if TYPE_CHECKING:
    from metabench.estimation.estimator_on_tasks import Subject
    from metabench.probes.cost import Cost

BUDGETS = 10.0 ** np.arange(-3, 2)  # seconds
MEBIBYTES = 4.0 ** np.arange(-2, 4)


def errors(
    probe: Cost,
    lookeds: dict[str, Subject],
    seconds: dict[str, float],
    held: dict[str, float],
    seed: int,
    advance: Callable[[int], None],
) -> list[Row]:
    """Give bias and variance of each algorithm, and the error that a budget buys.

    Args:
        probe: its settings.
        lookeds: the subjects, by algorithm, at one K.
        seconds: of one task, by algorithm.
        held: bytes of one task, by algorithm.
        seed: of the tasks.
        advance: called with 1 after each algorithm.

    Returns:
        Rows `variance`, `bias`, `mse`, `mse_by_seconds`, `mse_by_mebibytes`, `break_even`; of one
        that learns more than theta, whose meta-gradient is another vector, a row that says so.
    """
    grads: dict[str, Vector] = {}
    for name, looked in lookeds.items():
        if name != UNROLL:
            drawn = looked.meta_gradients(Address.fresh(0, probe.tasks), seed).grad
            grads[name] = drawn.double().cpu().numpy()
        advance(4)
    if EXACT not in grads:  # a row of rivals says why
        return [Row("mse", status="withheld")]
    if not np.isfinite(grads[EXACT]).all():
        return [Row("mse", status="diverged")]
    true = Moments.from_samples(grads[EXACT])
    rows = []
    for name, found in grads.items():
        if found.shape != grads[EXACT].shape:
            of = (
                f"{name} learns more than theta, so that its meta-gradient is no estimate of "
                f"{EXACT}'s and has no error; its seconds and bytes are told"
            )
            rows.append(Row("unavailable", of=of, status="withheld"))
            continue
        if not np.isfinite(found).all():
            rows.append(Row("mse", of=name, status="diverged"))
            continue
        own, gap = Moments.from_samples(found), Moments.from_samples(found - grads[EXACT])
        same = not gap.deviations.any() and gap.mean_squared == 0
        bias = None if same else gap
        rows.append(row("variance", skewed_variance_interval(own), of=name))
        if bias is None:
            rows.append(Row("bias", of=name, value=0.0, status="zero"))
        else:
            interval = mean_norm_interval(gap)
            status = "ok" if interval.low > 0 else "unresolved"
            rows.append(row("bias", interval, status, of=name))
        rows += _budgets(probe, name, own, bias, seconds[name], held.get(name, 0.0))
        if bias is not None:
            rows += _even(true, own, gap, seconds, name)
    return rows


def _budgets(
    probe: Cost, name: str, own: Moments, bias: Moments | None, seconds: float, held: float
) -> list[Row]:
    def at(B: float, quantity: str, place: float) -> Row:
        error = paired_estimators.squared_error(own, bias, B, spread_of=skewed_variance_interval)
        return row(quantity, error, at=place, of=name)

    rows = [at(float(B), "mse", float(B)) for B in sorted({*probe.sizes, probe.batch})]
    rows += [at(b / seconds, "mse_by_seconds", float(b)) for b in BUDGETS if b >= seconds]
    room = [m for m in MEBIBYTES if held and m * 2**20 >= held]
    return rows + [at(m * 2**20 / held, "mse_by_mebibytes", float(m)) for m in room]


def _even(
    true: Moments, own: Moments, gap: Moments, seconds: dict[str, float], name: str
) -> list[Row]:
    """Give the task batch, and the seconds, beyond which exactness pays."""
    costs = seconds[EXACT], seconds[name]
    found = {"break_even": (1.0, 1.0), "break_even_seconds": costs}
    rows = []
    for quantity, cost in found.items():
        interval = paired_estimators.break_even(true, own, gap, cost)
        status = "ok" if math.isfinite(interval.high) else "unbounded"
        rows.append(row(quantity, interval, status, of=name))
    return rows
