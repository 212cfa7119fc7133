"""Rows of variance, its slope against B, and noise scale, from moments at each B."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from metabench.records.rows import Row, row
from metabench.stats.intervals import Interval
from metabench.stats.log_regression import log_slope
from metabench.stats.moments import Moments, mean_norm_interval, tasks_to_detect, variance_interval
from metabench.stats.noise_scale import noise_scale_interval
from metabench.stats.proportions import share_interval

# A standard deviation below this many roundings of the mean is round-off, not noise.
ROUNDINGS = 100
# Squared norms above this overflow float64 when squared again for an interval.
LARGEST_SQUARE = 1e150
BY_LAYER = ("task_variance", "mean_norm_squared", "noise_scale")


def diverged_row(B: int, finite: NDArray[np.bool_]) -> Row:
    """Return the share of batches with a non-finite estimate."""
    hits = int((~finite).sum())
    status = "diverged" if hits else "ok"
    return row("diverged", share_interval(hits, len(finite)), status, at=float(B))


def layer_rows(
    samples: dict[int, dict[str, Moments]], status: str, refuted: bool, eps: float
) -> list[Row]:
    """Return variance, squared mean and noise scale of each layer from the tasks of B = 1.

    Args:
        samples: moments at each B, by layer; "" is the whole.
        status: that of the sample.
        refuted: the tasks are not independent.
        eps: round-off of the dtype.
    """
    layers = {name: moments for name, moments in samples[1].items() if name}
    rows = []
    for name, moments in layers.items():
        state = status_of(moments, eps) if status == "ok" else status
        signal = signal_rows({1: moments}, state, refuted)
        rows += [r._replace(layer=name) for r in signal if r.quantity in BY_LAYER]
    return rows


def status_of(moments: Moments, eps: float) -> str:
    """Return the status of a sample's variance: diverged, overflow, degenerate or ok."""
    if np.isnan(moments.deviations).any():
        return "diverged"
    if not moments.deviations.max(initial=0.0) + moments.mean_squared < LARGEST_SQUARE:
        return "overflow"
    round_off = (ROUNDINGS * eps) ** 2 * moments.mean_squared
    return "ok" if moments.variance > round_off else "degenerate"


def variance_row(quantity: str, moments: Moments, status: str, **where: float) -> Row:
    """Return a variance with its interval, as far as the status allows.

    Args:
        quantity: its name.
        moments: of the sample.
        status: that of the sample.
        **where: further fields of the row.
    """
    if status in ("withheld", "diverged", "overflow"):
        return row(quantity, Interval(math.nan, math.nan, math.nan), status, **where)
    if status == "degenerate":
        return row(quantity, Interval(moments.variance, math.nan, math.nan), status, **where)
    return row(quantity, variance_interval(moments), status, **where)


def slope_row(samples: dict[int, Moments], states: dict[int, str]) -> Row:
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


def signal_rows(samples: dict[int, Moments], status: str, refuted: bool) -> list[Row]:
    """Return variance, squared mean, noise scale and SNR at each B, from the tasks of B = 1.

    Args:
        samples: moments at each B, of the whole.
        status: that of the sample.
        refuted: the tasks are not independent.
    """
    moments = samples[1]
    rows = [variance_row("task_variance", moments, status)]
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
