"""Rows of the spectra of many tasks: their quantiles, and the stable rates that follow."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from metabench.probes.spectrum.density import density
from metabench.probes.spectrum.task_spectra import (
    Densities,
    SpectrumEnds,
    TaskSpectra,
    spectral_norms,
)
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
DRAWN_LEVELS = tuple(round(0.05 * i, 2) for i in range(1, 20))
SCALED = "preconditioned"
TRACE_T = 3.5  # Student's t of a trace's few vectors, times the known shortfall of their error


def summary(
    probe: Spectrum,
    algorithm: Algorithm | None,
    places: dict[str, TaskSpectra],
    given: NDArray[np.bool_],
) -> list[Row]:
    """Return the rows of every place, with stable rates and growth where there is an inner step.

    Args:
        probe: its tolerance.
        algorithm: whose inner step is judged; None for a black box.
        places: the spectra at "start", "adapted" and "preconditioned", where measured.
        given: whether each task's support set is finite, `(T,)`; other tasks are left out.
    """
    rows = _settings(algorithm) if algorithm else []
    given = given & (places["start"].ends.finite == 1)  # no rate makes other Hessians finite
    scaled = [SCALED] if SCALED in places else list(places)  # where the inner rate is judged
    for place, found in places.items():
        lost = found.ends.finite < 1
        counted = lost if place == "start" else lost[given]
        if counted.any():
            rows.append(share("diverged", counted, place)._replace(status="diverged"))
        if lost.all() or not given.any():
            continue
        ends = _without(_of_tasks(found.ends, given), lost[given])
        rows += _ends(ends, place, probe.tolerance)
        if algorithm and algorithm.steps and place in scaled:
            rows += _step(ends, place, algorithm.inner_optimizer)
        if not lost.any():  # the tasks that are left would not stand for all
            rows += _density_rows(found, place, probe.tolerance)
    return rows


def _settings(algorithm: Algorithm) -> list[Row]:
    """Return the inner rate, the number of steps and the optimizer's edge of stability."""
    edge = algorithm.inner_optimizer.stability_edge()
    return [
        Row("rate", value=algorithm.inner_optimizer.rate),
        Row("inner_steps", value=float(algorithm.steps)),
        Row("edge", value=edge, status="ok" if edge is not None else "withheld"),
    ]


def _of_tasks(ends: SpectrumEnds, chosen: NDArray[np.bool_]) -> SpectrumEnds:
    return SpectrumEnds(*(each[chosen] for each in ends))


def _without(ends: SpectrumEnds, lost: NDArray[np.bool_]) -> SpectrumEnds:
    """Return the ends with those of lost tasks at infinity: past every edge."""
    return ends._replace(
        largest=np.where(lost, np.inf, ends.largest),
        smallest=np.where(lost, -np.inf, ends.smallest),
        slack=np.where(lost, 0, ends.slack),
    )


def _density_rows(found: TaskSpectra, place: str, tolerance: float) -> list[Row]:
    """Return traces, densities, and the rows of single layers."""
    rows = []
    if found.densities:
        rows += _sums(found, found.densities, place, tolerance)
        rows += density(found.densities, found.exact, place)
    for name, (ends, trace) in found.layers.items():
        rows += _layer(ends, trace, place, name)
    return rows


def _ends(ends: SpectrumEnds, place: str, tolerance: float) -> list[Row]:
    """Return quantiles of both ends over tasks, and the share with negative curvature."""
    rows = []
    if (ends.converged < 1).any():
        rows.append(share("not_converged", ends.converged < 1, place))
    finite = ends.finite == 1
    negative = ends.smallest[finite] < -tolerance * spectral_norms(ends)[finite]
    rows.append(share("negative_curvature", negative, place))
    for levels, suffix in ((LEVELS, "eigenvalue"), (DRAWN_LEVELS, "over_tasks")):
        for level in levels:
            for name, found in (("largest", _largest), ("smallest", _smallest)):
                interval = found(ends, level)
                rows.append(_row(f"{name}_{suffix}", interval, "diverged", place, level))
    return rows


def _largest(ends: SpectrumEnds, level: float) -> Interval:
    high = quantile_interval(ends.largest + ends.slack, level).high
    return quantile_interval(ends.largest, level)._replace(high=high)


def _smallest(ends: SpectrumEnds, level: float) -> Interval:
    low = quantile_interval(ends.smallest - ends.slack, level).low
    return quantile_interval(ends.smallest, level)._replace(low=low)


def _step(ends: SpectrumEnds, place: str, step: InnerOptimizer) -> list[Row]:
    """Return the share of tasks past the edge, the stable rates, and the growth of a step."""
    edge = step.stability_edge()
    if edge is None:
        return []
    rows = [share("past_edge", step.rate * ends.largest > edge, place)]
    for level in LEVELS:
        value, high, low = (edge / x if x > 0 else math.inf for x in _largest(ends, level))
        interval = Interval(value, low, high)
        rows.append(_row("stable_rate", interval, "unbounded", place, level))
    above, below = (
        step.spectral_radius(step.rate * ends.largest),
        step.spectral_radius(step.rate * ends.smallest),
    )
    if above is not None and below is not None:
        for level in LEVELS:
            interval = quantile_interval(np.maximum(above, below), level)
            rows.append(_row("step_growth", interval, "diverged", place, level))
    return rows


def _sums(found: TaskSpectra, densities: Densities, place: str, tolerance: float) -> list[Row]:
    """Return trace, share of negative curvature, effective rank and condition number."""
    weights = densities.weights
    values = np.where(weights > 0, densities.values, 0.0)
    absolute = found.parameters * (weights * np.abs(values)).sum(2).mean(1)
    square = found.parameters * (weights * values**2).sum(2).mean(1)
    down = found.parameters * (weights * np.maximum(-values, 0)).sum(2).mean(1)
    negative = ratio_of_means(down, absolute)
    ends = found.ends
    scale = np.where(
        spectral_norms(ends) > 0, spectral_norms(ends), 1.0
    )  # so that no task outweighs the others
    rank = ratio_of_means(absolute / scale, square / scale**2, 2.0)
    rows = [
        row("trace", _trace(densities), of=place),
        row("negative_mass", negative._replace(high=min(negative.high, 1.0)), of=place),
        row("effective_rank", rank, of=place),
    ]
    if (ends.smallest > tolerance * spectral_norms(ends)).all():
        for level in LEVELS:
            interval = quantile_interval(ends.largest / ends.smallest, level)
            rows.append(row("condition_number", interval, of=place, at=level))
    return rows


def _trace(densities: Densities) -> Interval:
    """Return the mean trace over tasks; for a single task, its interval over random vectors."""
    if len(densities.trace) > 1:
        return skewed_mean_interval(densities.trace)
    value, error = float(densities.trace[0]), float(densities.trace_error[0])
    reach = TRACE_T * error
    return Interval(value, value - reach, value + reach)


def _layer(ends: SpectrumEnds, trace: Vector, place: str, name: str) -> list[Row]:
    return [
        row("largest_eigenvalue", _largest(ends, 0.5), of=place, layer=name, at=0.5),
        row("smallest_eigenvalue", _smallest(ends, 0.5), of=place, layer=name, at=0.5),
        row("trace", skewed_mean_interval(trace), of=place, layer=name),
    ]


def _row(quantity: str, interval: Interval, infinite: str, place: str, level: float) -> Row:
    """Return the row of a quantile, with the status `infinite` where it isn't finite."""
    status = "ok" if math.isfinite(interval.value) else infinite
    return row(quantity, interval, status, of=place, at=level)


def share(name: str, hit: NDArray[np.bool_], place: str) -> Row:
    """Return the row of a share of tasks, with its interval.

    Args:
        name: its quantity.
        hit: which tasks count, `(T,)`.
        place: value of `of` in the row.
    """
    return row(name, share_interval(int(hit.sum()), len(hit)), of=place)
