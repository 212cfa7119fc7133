"""Mean squared error to the true meta-gradient, for tasks, for seconds and for bytes."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from metabench.probes.cost import EXACT, UNROLL
from metabench.problems.tasks import Address
from metabench.records.rows import Row, row
from metabench.stats import equal_time, paired_estimators
from metabench.stats.intervals import Interval, Vector
from metabench.stats.moments import Moments, mean_norm_interval, skewed_variance_interval

if TYPE_CHECKING:
    from metabench.estimation.estimator_on_tasks import Subject
    from metabench.probes.cost import Cost

SECONDS = 10.0 ** np.arange(-3, 2)  # seconds
MEBIBYTES = 4.0 ** np.arange(-2, 4)


def error_rows(
    probe: Cost,
    subjects: dict[str, Subject],
    seconds: dict[str, Interval],
    memory: dict[str, float],
    seed: int,
    advance: Callable[[int], None],
) -> list[Row]:
    """Return bias and variance of each algorithm, and its error for each budget.

    Args:
        probe: its settings.
        subjects: the subjects, by algorithm, at one K.
        seconds: of one task, by algorithm, with the interval of the timing.
        memory: bytes of one task, by algorithm.
        seed: of the tasks.
        advance: called with 1 after each algorithm.

    Returns:
        Rows `variance`, `bias`, `mse`, `mse_by_seconds`, `mse_by_mebibytes`, `break_even`; for an
        algorithm that appends parameters to theta, whose meta-gradient is another vector, a row
        `unavailable`.
    """
    grads: dict[str, Vector] = {}
    for name, subject in subjects.items():
        if name != UNROLL:
            drawn = subject.meta_gradients(Address.fresh(0, probe.tasks), seed).grad
            grads[name] = drawn.double().cpu().numpy()
        advance(4)
    if EXACT not in grads:  # a row of `comparison_algorithms` gives the reason
        return [Row("mse", status="withheld")]
    if not np.isfinite(grads[EXACT]).all():
        return [Row("mse", status="diverged")]
    true = Moments.from_samples(grads[EXACT])
    rows = []
    for name, found in grads.items():
        if found.shape != grads[EXACT].shape:
            of = (
                f"the error of {name}, which learns parameters beyond theta, so its meta-gradient "
                f"can't be compared with {EXACT}'s; compare its seconds and bytes"
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
        rows += _mse_rows(probe, name, own, bias, seconds[name], memory.get(name, 0.0))
        if bias is not None:
            rows += _break_even_rows(true, own, gap, seconds, name)
    return rows


def _mse_rows(
    probe: Cost, name: str, own: Moments, bias: Moments | None, seconds: Interval, memory: float
) -> list[Row]:
    def at(B: float, quantity: str, place: float) -> Row:
        error = paired_estimators.squared_error(own, bias, B, spread_of=skewed_variance_interval)
        return row(quantity, error, at=place, of=name)

    rows = [at(float(B), "mse", float(B)) for B in sorted({*probe.sizes, probe.batch})]
    for budget in SECONDS[seconds.value <= SECONDS]:
        error = equal_time.squared_error(
            own, bias, equal_time.tasks_in(float(budget), seconds), skewed_variance_interval
        )
        rows.append(row("mse_by_seconds", error, at=float(budget), of=name))
    room = [m for m in MEBIBYTES if memory and m * 2**20 >= memory]
    return rows + [at(m * 2**20 / memory, "mse_by_mebibytes", float(m)) for m in room]


def _break_even_rows(
    true: Moments, own: Moments, gap: Moments, seconds: dict[str, Interval], name: str
) -> list[Row]:
    """Return the task batch, and the seconds, from which on the exact algorithm has less error."""
    found = {
        "break_even": paired_estimators.break_even(true, own, gap),
        "break_even_seconds": equal_time.break_even(
            true, own, gap, (seconds[EXACT], seconds[name])
        ),
    }
    return [
        row(quantity, interval, "unbounded" if interval.high == math.inf else "ok", of=name)
        for quantity, interval in found.items()
    ]
