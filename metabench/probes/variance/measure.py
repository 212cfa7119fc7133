"""Measure the variance of the meta-gradient at every B, on fresh, disjoint batches."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray

from metabench.autodiff.stopwatch import seconds_of
from metabench.probes.base import Progress
from metabench.probes.variance import (
    comparison_algorithms,
    components,
    measure_advice,
    measure_bias,
    measure_independence,
    measure_outer_optimizer,
    measure_tails,
)
from metabench.probes.variance.collect import Array, by_layer, gather, limit_chunk, store
from metabench.probes.variance.independent_law import independent_law
from metabench.problems.samplers import withheld
from metabench.problems.tasks import Address
from metabench.records.rows import Row, row
from metabench.settings import amounts
from metabench.stats.intervals import Interval
from metabench.stats.log_regression import log_slope
from metabench.stats.moments import Moments, mean_norm_interval, tasks_to_detect, variance_interval
from metabench.stats.noise_scale import noise_scale_interval
from metabench.stats.proportions import share_interval

if TYPE_CHECKING:
    from metabench.estimation.estimator_on_tasks import Subject
    from metabench.probes.variance import Variance

TIMED_CALLS = 3
# A standard deviation below this many roundings of the mean is round-off, not noise.
ROUNDINGS = 100
# Squared norms above this overflow float64 when squared again for an interval.
LARGEST_SQUARE = 1e150
BY_LAYER = ("task_variance", "mean_norm_squared", "noise_scale")


def measure(
    probe: Variance,
    subject: Subject,
    seed: int,
    progress: Progress,
    parts: Sequence[Mapping[str, Array]] = (),
) -> list[Row]:
    """Return the rows of the variance at each B and, from the tasks of B = 1, all others.

    Args:
        probe: settings of the measurement.
        subject: the algorithm, problem and theta to measure.
        seed: of every draw.
        progress: called with the number of tasks done and of all tasks.
        parts: meta-gradients computed before, all batches at each B in order; () computes them.
    """
    held = amounts.memory(probe.memory)
    small = limit_chunk(subject, held)
    others = comparison_algorithms.comparison_subjects(probe.compare_with, small, seed)
    plan, total, done = probe.plan, cost(probe, subject), 0

    def advance(count: int) -> None:
        nonlocal done
        done = min(done + count, total)
        progress(done, total)

    samples: dict[int, dict[str, Moments]] = {}
    outer_moments: dict[int, measure_outer_optimizer.OuterMoments] = {}
    rows: list[Row] = []
    independence: list[Row] = []
    start = 0
    for B, batches in plan.items():
        address = Address.fresh(start, B * batches)
        if parts:
            sample = store((each[str(B)] for each in parts), subject, batches, held)
            advance(B * batches)
        else:
            sample = gather(small, address, seed, B, held, advance)
        start += B * batches
        rows.append(_diverged(B, sample.finite))
        if B == 1 and rows[-1].value:
            first = int(address.task[~sample.finite][0])
            rows.append(Row("first_diverged", value=float(first)))
        layout = subject.problem.layouts.theta
        samples[B] = by_layer(layout, [sample], Moments.from_samples, Moments.joined)
        outer_moments[B] = measure_outer_optimizer.moments_at(probe, sample, layout)
        independence += measure_independence.measure(small, sample, seed) if B == 1 else []
        del sample
    eps = torch.finfo(subject.theta.dtype).eps
    states = {B: _status(layers[""], eps) for B, layers in samples.items()}
    heavy = measure_tails.measure(samples[1]) if states[1] == "ok" else []
    if measure_tails.variance_is_infinite(
        heavy
    ):  # no second moment: the sample's does not estimate the tasks'
        states = dict.fromkeys(plan, "withheld")
    whole = {B: layers[""] for B, layers in samples.items()}
    rows += [_variance("variance", whole[B], states[B], at=float(B)) for B in plan]
    slope = _slope(whole, states)
    refuted = independent_law([slope, *independence]) == "refuted"
    rows += [slope, *independence, *_signal(whole, states[1], refuted)]
    rows += [_seconds(small, seed, B, start) for B in plan]
    rows += [*_layers(samples, states[1], refuted, eps), *heavy]
    rows += measure_outer_optimizer.rows(probe, outer_moments, states[1] == "ok")
    rows += measure_tails.distinct_tasks(subject, seed, probe.tasks)
    if small.compute.chunk < subject.compute.chunk:
        rows.append(Row("chunk", value=float(small.compute.chunk), status="reduced"))
    if probe.n_redraws:
        rows += _redraw_rows(probe, small, seed, held, advance, states[1], start, others)
    progress(total, total)
    return rows


def cost(probe: Variance, subject: Subject) -> int:
    """Return the number of tasks of a whole measurement, counting each redraw."""
    total = sum(B * batches for B, batches in probe.plan.items())
    again = probe.n_redraws * (
        16 + measure_bias.cost(subject.algorithm, probe.shot_multiples, len(probe.compare_with))
    )
    return total + again + (probe.tasks if probe.budget and probe.n_redraws else 0)


def _redraw_rows(
    probe: Variance,
    subject: Subject,
    seed: int,
    held: int,
    advance: Callable[[int], None],
    status: str,
    start: int,
    others: list[Subject],
) -> list[Row]:
    """Redraw the first tasks for components and biases, or say why there are none."""
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
            lambda which, address, size: _clock(which, address, seed, size),
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
    size = max(min(probe.batch, start // TIMED_CALLS), 1) if fixed else probe.batch

    def seconds(which: Subject) -> float:
        return (_seconds(which, seed, size, 0 if fixed else start).value or math.nan) / size

    sizes = tuple(sorted({*probe.plan, probe.batch}))
    multiples = 0 if fixed else probe.shot_multiples
    rows = measure_bias.measure(
        subject, seed, probe.n_redraws, multiples, held, advance, sizes, seconds, others
    )
    if fixed and not any(r.quantity == "bias" and r.of == "objective" for r in rows):
        rows.append(Row("bias", of="objective", status="not_redrawable"))
    return rows


def _layers(
    samples: dict[int, dict[str, Moments]], status: str, refuted: bool, eps: float
) -> list[Row]:
    """Return variance, squared mean and noise scale of each layer from the tasks of B = 1."""
    layers = {name: moments for name, moments in samples[1].items() if name}
    rows = []
    for name, moments in layers.items():
        state = _status(moments, eps) if status == "ok" else status
        signal = _signal({1: moments}, state, refuted)
        rows += [r._replace(layer=name) for r in signal if r.quantity in BY_LAYER]
    return rows


def _diverged(B: int, finite: NDArray[np.bool_]) -> Row:
    """Return the share of batches with a non-finite estimate."""
    hits = int((~finite).sum())
    status = "diverged" if hits else "ok"
    return row("diverged", share_interval(hits, len(finite)), status, at=float(B))


def _status(moments: Moments, eps: float) -> str:
    """Return the status of a sample's variance: diverged, overflow, degenerate or ok."""
    if np.isnan(moments.deviations).any():
        return "diverged"
    if not moments.deviations.max(initial=0.0) + moments.mean_squared < LARGEST_SQUARE:
        return "overflow"
    round_off = (ROUNDINGS * eps) ** 2 * moments.mean_squared
    return "ok" if moments.variance > round_off else "degenerate"


def _variance(quantity: str, moments: Moments, status: str, **where: float) -> Row:
    if status in ("withheld", "diverged", "overflow"):
        return row(quantity, Interval(math.nan, math.nan, math.nan), status, **where)
    if status == "degenerate":
        return row(quantity, Interval(moments.variance, math.nan, math.nan), status, **where)
    return row(quantity, variance_interval(moments), status, **where)


def _slope(samples: dict[int, Moments], states: dict[int, str]) -> Row:
    """Fit the slope of log variance on log B."""
    if len(samples) < 2:
        return Row("slope", status="withheld")
    failed = [state for state in states.values() if state != "ok"]
    if failed:
        return Row("slope", status=failed[0])
    line = log_slope(np.array(list(samples), float), list(samples.values()))
    if not math.isfinite(line.slope):  # one batch makes all of the variance
        return Row("slope", status="unresolved")
    return row("slope", line.interval())


def _signal(samples: dict[int, Moments], status: str, refuted: bool) -> list[Row]:
    """Return variance, squared mean, noise scale and SNR at each B, from the tasks of B = 1."""
    moments = samples[1]
    rows = [_variance("task_variance", moments, status)]
    if status in ("diverged", "overflow"):
        missing = ("mean_norm_squared", "noise_scale")
        rows += [Row(quantity, status=status) for quantity in missing]
        return rows + [Row("snr", at=float(B), status=status) for B in samples]
    mean = mean_norm_interval(moments)
    rows.append(row("mean_norm_squared", mean))
    if status != "ok" or refuted:
        status = "withheld" if refuted else status
        return [
            *rows,
            Row("noise_scale", status=status),
            *(Row("snr", at=float(B), status=status) for B in samples),
        ]
    scale = noise_scale_interval(moments)
    resolved = mean.low > 0
    if not resolved:
        rows[-1] = rows[-1]._replace(status="unresolved")
        needed = tasks_to_detect(moments)
        rows.append(row("tasks_to_detect", Interval(needed, math.nan, math.nan)))
    rows.append(row("noise_scale", scale, "ok" if math.isfinite(scale.high) else "unbounded"))
    for B in samples:
        ratio = Interval(B / scale.value, B / scale.high, B / scale.low if scale.low else math.inf)
        rows.append(row("snr", ratio, at=float(B)))
    return rows


def _seconds(subject: Subject, seed: int, B: int, start: int) -> Row:
    """Return the median time of a meta-gradient over B fresh tasks, sampling included."""
    fresh = (Address.fresh(start + call * B, B) for call in range(TIMED_CALLS))
    seconds = [_clock(subject, address, seed, B) for address in fresh]
    return Row("seconds", at=float(B), value=float(np.median(seconds)))


def _clock(subject: Subject, address: Address, seed: int, size: int) -> float:
    """Return the seconds that the means over `size` of the addressed draws take."""

    def drawn() -> None:
        for _ in subject.estimates(address, seed, size):
            pass

    return seconds_of(drawn, subject.theta.device)
