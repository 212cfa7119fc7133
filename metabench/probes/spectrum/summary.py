"""From the spectra of many tasks to rows: what they are, and what they allow."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from metabench.probes.spectrum.density import density
from metabench.probes.spectrum.task_spectra import Inside, MetaSpectra, TaskSpectra, size
from metabench.records.rows import Row, row
from metabench.stats.intervals import Interval, Vector
from metabench.stats.mean_intervals import ratio_of_means, skewed_mean_interval
from metabench.stats.proportions import share_interval
from metabench.stats.quantile_intervals import quantile_interval

if TYPE_CHECKING:
    from metabench.algorithms.base import Algorithm
    from metabench.algorithms.inner_optimizers.inner_optimizer import InnerOptimizer
    from metabench.probes.spectrum import Spectrum

LEVELS = (0.05, 0.5, 0.95)  # quantiles over tasks that are printed
FINE = tuple(round(0.05 * i, 2) for i in range(1, 20))  # and those that are drawn
SCALED = "preconditioned"
CAUTION = 3.5  # Student's t of a trace's few vectors, times their error's known shortfall


def summary(
    probe: Spectrum, algorithm: Algorithm | None, places: dict[str, TaskSpectra]
) -> list[Row]:
    """Give the rows of every place, and what the step makes of them."""
    rows = _settings(algorithm) if algorithm else []
    scaled = [SCALED] if SCALED in places else list(places)  # where the step is judged
    for place, found in places.items():
        lost = found.ends.finite < 1
        if lost.any():
            rows.append(share("diverged", lost, place)._replace(status="diverged"))
        if lost.all():
            continue
        ends = _without(found.ends, lost)
        rows += _ends(ends, place, probe.tolerance)
        if algorithm and algorithm.steps and place in scaled:
            rows += _step(ends, place, algorithm.inner_optimizer)
        if not lost.any():  # the tasks that are left would not stand for all
            rows += _whole(found, place, probe.tolerance)
    return rows


def _settings(algorithm: Algorithm) -> list[Row]:
    """Give what the inner loop is set to, and the edge of its step."""
    edge = algorithm.inner_optimizer.edge()
    return [
        Row("rate", value=algorithm.inner_optimizer.rate),
        Row("inner_steps", value=float(algorithm.steps)),
        Row("edge", value=edge, status="ok" if edge is not None else "withheld"),
    ]


def _without(ends: MetaSpectra, lost: NDArray[np.bool_]) -> MetaSpectra:
    """Put the ends of lost tasks beyond any eigenvalue that could be measured."""
    return ends._replace(
        largest=np.where(lost, np.inf, ends.largest),
        smallest=np.where(lost, -np.inf, ends.smallest),
        slack=np.where(lost, 0, ends.slack),
    )


def _whole(found: TaskSpectra, place: str, tolerance: float) -> list[Row]:
    """Give what takes the whole spectrum, and the layers' own."""
    rows = []
    if found.inside:
        rows += _sums(found, found.inside, place, tolerance)
        rows += density(found.inside, found.exact, place)
    for name, (ends, trace) in found.layers.items():
        rows += _layer(ends, trace, place, name)
    return rows


def _ends(ends: MetaSpectra, place: str, tolerance: float) -> list[Row]:
    """Give both ends over tasks, and how many tasks curve down."""
    rows = []
    if (ends.converged < 1).any():
        rows.append(share("not_converged", ends.converged < 1, place))
    seen = ends.smallest[ends.finite == 1], size(ends)[ends.finite == 1]
    rows.append(share("negative_curvature", seen[0] < -tolerance * seen[1], place))
    for levels, suffix in ((LEVELS, "eigenvalue"), (FINE, "over_tasks")):
        for level in levels:
            for name, found in (("largest", _largest), ("smallest", _smallest)):
                interval = found(ends, level)
                rows.append(_row(f"{name}_{suffix}", interval, "diverged", place, level))
    return rows


def _largest(ends: MetaSpectra, level: float) -> Interval:
    high = quantile_interval(ends.largest + ends.slack, level).high
    return quantile_interval(ends.largest, level)._replace(high=high)


def _smallest(ends: MetaSpectra, level: float) -> Interval:
    low = quantile_interval(ends.smallest - ends.slack, level).low
    return quantile_interval(ends.smallest, level)._replace(low=low)


def _step(ends: MetaSpectra, place: str, step: InnerOptimizer) -> list[Row]:
    """Give the share of tasks past the edge, the rates that aren't, and the growth of a step."""
    edge = step.edge()
    if edge is None:
        return []
    rows = [share("past_edge", step.rate * ends.largest > edge, place)]
    for level in LEVELS:
        value, high, low = (edge / x if x > 0 else math.inf for x in _largest(ends, level))
        interval = Interval(value, low, high)
        rows.append(_row("stable_rate", interval, "unbounded", place, level))
    above, below = step.radius(step.rate * ends.largest), step.radius(step.rate * ends.smallest)
    if above is not None and below is not None:
        for level in LEVELS:
            interval = quantile_interval(np.maximum(above, below), level)
            rows.append(_row("step_growth", interval, "diverged", place, level))
    return rows


def _sums(found: TaskSpectra, inside: Inside, place: str, tolerance: float) -> list[Row]:
    """Give the trace, and what its parts say of the whole spectrum."""
    weights = inside.weights
    values = np.where(weights > 0, inside.values, 0.0)
    every = found.parameters * (weights * np.abs(values)).sum(2).mean(1)
    square = found.parameters * (weights * values**2).sum(2).mean(1)
    down = found.parameters * (weights * np.maximum(-values, 0)).sum(2).mean(1)
    negative = ratio_of_means(down, every)
    ends = found.ends
    scale = np.where(size(ends) > 0, size(ends), 1.0)  # so that no task outweighs the others
    rank = ratio_of_means(every / scale, square / scale**2, 2.0)
    rows = [
        row("trace", _trace(inside), of=place),
        row("negative_mass", negative._replace(high=min(negative.high, 1.0)), of=place),
        row("effective_rank", rank, of=place),
    ]
    if (ends.smallest > tolerance * size(ends)).all():
        for level in LEVELS:
            interval = quantile_interval(ends.largest / ends.smallest, level)
            rows.append(row("condition_number", interval, of=place, at=level))
    return rows


def _trace(inside: Inside) -> Interval:
    """Bracket the mean trace over tasks; of a single task, by the spread of its own vectors."""
    if len(inside.trace) > 1:
        return skewed_mean_interval(inside.trace)
    value, error = float(inside.trace[0]), float(inside.trace_error[0])
    reach = CAUTION * error
    return Interval(value, value - reach, value + reach)


def _layer(ends: MetaSpectra, trace: Vector, place: str, name: str) -> list[Row]:
    return [
        row("largest_eigenvalue", _largest(ends, 0.5), of=place, layer=name, at=0.5),
        row("smallest_eigenvalue", _smallest(ends, 0.5), of=place, layer=name, at=0.5),
        row("trace", skewed_mean_interval(trace), of=place, layer=name),
    ]


def _row(quantity: str, interval: Interval, infinite: str, place: str, level: float) -> Row:
    """Make a row of a quantile, with a word for a value that isn't finite."""
    status = "ok" if math.isfinite(interval.value) else infinite
    return row(quantity, interval, status, of=place, at=level)


def share(name: str, hit: NDArray[np.bool_], place: str) -> Row:
    """Give the share of tasks of which something holds."""
    return row(name, share_interval(int(hit.sum()), len(hit)), of=place)
