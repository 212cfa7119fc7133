"""Moments of differences of paired meta-gradients, and rows of a bias."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from metabench.probes.variance.collect import Array, Sample, by_layer
from metabench.records.rows import Row, row
from metabench.stats.intervals import Interval
from metabench.stats.moments import Moments, mean_norm_interval

if TYPE_CHECKING:
    from metabench.estimation.estimator_on_tasks import Subject


Layers = dict[str, Moments]


def paired_moments(
    subject: Subject, *samples: Sample, weights: tuple[float, ...] = (1.0,)
) -> Layers:
    """Return the moments of a weighted sum of paired samples, for the whole and each layer."""

    def mixed(*blocks: Array) -> Moments:
        parts = zip(weights, blocks, strict=True)
        total = sum(weight * block.astype(np.float64) for weight, block in parts)
        return Moments.from_samples(np.asarray(total))

    return by_layer(subject.problem.layouts.theta, list(samples), mixed, Moments.joined)


def bias_row(moments: Moments, **where: object) -> Row:
    """Return the squared norm of a mean difference with its interval."""
    if moments.mean_squared == 0 and not moments.deviations.any():
        return row("bias", Interval(0.0, math.nan, math.nan), "zero", **where)
    interval = mean_norm_interval(moments)
    return row("bias", interval, "ok" if interval.low > 0 else "unresolved", **where)
