"""Redraw the first tasks for components, advice and biases, or say why there are none."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from metabench.probes.variance import (
    components,
    measure_advice,
    measure_bias,
    measure_seconds,
)
from metabench.probes.variance.measure_seconds import TIMED_CALLS, TIMED_CALLS_COMPARED
from metabench.problems.samplers import withheld
from metabench.records.rows import Row
from metabench.settings import amounts
from metabench.stats.intervals import Interval
from metabench.stats.quantile_intervals import quantile_interval

if TYPE_CHECKING:
    from metabench.estimation.estimator_on_tasks import Subject
    from metabench.probes.variance import Variance


def redraw_rows(
    probe: Variance,
    subject: Subject,
    seed: int,
    held: int,
    advance: Callable[[int], None],
    status: str,
    start: int,
    others: list[Subject],
) -> list[Row]:
    """Redraw the first tasks for components and biases, or say why there are none.

    Args:
        probe: its settings.
        subject: what is measured.
        seed: of every draw.
        held: bytes that may be used.
        advance: called with the number of meta-gradients done since the last call.
        status: that of the sample.
        start: the first index of tasks that were not drawn yet.
        others: subjects of further algorithms.
    """
    usable = status in ("ok", "degenerate")
    if not usable or subject.withheld:
        rows = _no_redraws(probe, "withheld" if usable else status)
        return rows + (_biases(probe, subject, seed, held, advance, start, others) if usable else [
            Row("bias", of=of, status=status) for of in ("estimator", "objective")
        ])  # fmt: skip
    rows, found = components.measure(subject, seed, probe.n_redraws, held, advance)
    if probe.budget:
        rows += measure_advice.measure(
            subject, seed, amounts.budget(probe.budget), found, start, probe.tasks, held, advance,
            lambda which, address, size: measure_seconds.seconds_taken(which, address, seed, size),
        )  # fmt: skip
    return rows + _biases(probe, subject, seed, held, advance, start, others)


def _no_redraws(probe: Variance, status: str) -> list[Row]:
    """Return the rows of components and advice where there are none."""
    sources = [Row("component", of=source, status=status) for source in components.SOURCES]
    return [*sources, *([Row("advised", of="tasks", status=status)] if probe.budget else [])]


def _biases(
    probe: Variance,
    subject: Subject,
    seed: int,
    held: int,
    advance: Callable[[int], None],
    start: int,
    others: list[Subject],
) -> list[Row]:
    """Return the rows of biases; that of the objective needs other draws of the sets."""
    fixed = bool(withheld(subject.sample))
    # a stream may end, so that tasks already drawn are timed
    calls = TIMED_CALLS_COMPARED if others else TIMED_CALLS
    size = max(min(probe.batch, start // calls), 1) if fixed else probe.batch

    def seconds(which: Subject) -> Interval:
        timed = measure_seconds.timed_calls(which, seed, size, 0 if fixed else start, calls)
        return Interval(*(each / size for each in quantile_interval(timed)))

    sizes = tuple(sorted({*probe.plan, probe.batch}))
    multiples = 0 if fixed else probe.shot_multiples
    rows = measure_bias.measure(
        subject, seed, probe.n_redraws, multiples, held, advance, sizes, seconds, others
    )
    if fixed and not any(r.quantity == "bias" and r.of == "objective" for r in rows):
        rows.append(Row("bias", of="objective", status="not_redrawable"))
    return rows
