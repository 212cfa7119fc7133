"""Variance of the meta-gradient as clipped, and of the outer optimizer's update."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from metabench.outer_loop.optimizer_updates import updates
from metabench.probes.variance.collect import NUMBERS_PER_BLOCK, Array, Sample, by_layer
from metabench.records.rows import Row, row
from metabench.stats import paired_estimators
from metabench.stats.intervals import Interval, jackknife_error, t_quantile
from metabench.stats.log_regression import log_slope
from metabench.stats.moments import Moments, mean_norm_interval, variance_interval
from metabench.stats.proportions import share_interval

if TYPE_CHECKING:
    from metabench.probes.variance import Variance
    from metabench.problems.parameter_layout import Layout

Layers = dict[str, Moments]
FEWEST_CLIPPED_BATCHES = 10  # from which on the bias of clipping has an interval


class OuterMoments(NamedTuple):
    """Moments at one B after clipping and of the update, for the whole ("") and each layer."""

    batches: int
    hits: int  # number of batches that clipping changes
    clipped: Layers  # of the gradient as clipped; empty without limits
    removed: Layers  # of the clipped minus the unclipped gradient
    update: Layers  # of the optimizer's update divided by its rate; empty without an optimizer


class Clipped:
    """A sample with every vector clipped, first by value, then by norm."""

    def __init__(self, sample: Sample, width: int, norm: float, value: float) -> None:
        """Compute the norms of the sample's vectors `(n, width)`.

        Args:
            sample: the vectors.
            width: numbers in a vector.
            norm: largest norm.
            value: largest absolute entry.
        """
        self.sample, self.value, self.finite = sample, value, sample.finite
        square, moved = np.zeros(len(self.finite)), np.zeros(len(self.finite), np.bool_)
        step = max(NUMBERS_PER_BLOCK // len(self.finite), 1)
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            for start in range(0, width, step):
                block = sample.columns(start, min(start + step, width)).astype(np.float64)
                cut = block.clip(-value, value)
                moved |= (cut != block).any(1)
                square += (cut * cut).sum(1)
            over = square > norm**2
            self.scale = np.where(over, norm / np.sqrt(square), 1.0)
        self.moved = moved | over

    def columns(self, start: int, stop: int) -> Array:
        """Return the columns `start .. stop - 1` of the clipped sample."""
        block = self.sample.columns(start, stop).astype(np.float64)
        cut: Array = self.scale[:, None] * block.clip(-self.value, self.value)
        return cut


class Updates:
    """The optimizer's updates for a sample, each from the state after the first vectors."""

    def __init__(self, sample: Sample, name: str, warm: int) -> None:
        """Use the first `warm` vectors to build the optimizer's state.

        Args:
            sample: the vectors.
            name: of the optimizer.
            warm: number of vectors for the state.
        """
        self.sample, self.name, self.warm = sample, name, warm
        self.finite = sample.finite[warm:]

    def columns(self, start: int, stop: int) -> Array:
        """Return the columns `start .. stop - 1` of the updates."""
        return updates(self.name, self.sample.columns(start, stop), self.warm)


def warm_steps(probe: Variance) -> int:
    """Return the steps that build the optimizer's state: half of the fewest batches at any B."""
    return min(probe.plan.values()) // 2


def moments_at(probe: Variance, sample: Sample, layout: Layout) -> OuterMoments:
    """Compute the moments of clipped gradients and updates at one B.

    Args:
        probe: with the limits and the optimizer.
        sample: meta-gradients of batches of one B.
        layout: of theta.
    """
    clipped, removed, update, hits = {}, {}, {}, 0
    kept: Sample = sample
    if probe.clips:
        cut = Clipped(sample, layout.size, probe.clip_norm, probe.clip_value)
        kept, hits = cut, int(cut.moved.sum())
        clipped = by_layer(layout, [cut], Moments.from_samples, Moments.joined)
        removed = by_layer(layout, [cut, sample], _difference_moments, Moments.joined)
    if probe.outer_optimizer:
        moved = Updates(kept, probe.outer_optimizer, warm_steps(probe))
        update = by_layer(layout, [moved], Moments.from_samples, Moments.joined)
    return OuterMoments(len(sample.finite), hits, clipped, removed, update)


def rows(probe: Variance, found: dict[int, OuterMoments], exists: bool) -> list[Row]:
    """Return the rows of the clipped gradient's and the update's variance, at each B and by layer.

    Args:
        probe: with the limits and the optimizer.
        found: the moments at each B.
        exists: whether the unclipped gradient has a variance; without, the bias is unknown.
    """
    lines = []
    for B, each in found.items():
        lines += _clipped(each, float(B), exists) if each.clipped else []
        lines += [_variance("update_variance", each.update[""], at=float(B))] if each.update else []
    kinds = {"clipped": probe.clips, "update": bool(probe.outer_optimizer)}
    trained = max((B for B in found if probe.batch >= B), default=min(found))
    for kind in (name for name, wanted in kinds.items() if wanted):
        layers = {B: getattr(each, kind) for B, each in found.items()}
        lines.append(_slope(f"{kind}_slope", {B: each[""] for B, each in layers.items()}))
        lines += [
            _variance(f"{kind}_variance", moments, at=float(trained), layer=layer)
            for layer, moments in layers[trained].items()
            if layer
        ]
    if probe.outer_optimizer:
        lines.append(Row("warm_steps", of=probe.outer_optimizer, value=float(warm_steps(probe))))
    return lines


def _clipped(each: OuterMoments, at: float, exists: bool) -> list[Row]:
    """Return the share clipped, and the variance, bias and error with clipping."""
    share = row("clipped_share", share_interval(each.hits, each.batches), at=at)
    after, removed = each.clipped[""], each.removed[""]
    lines = [share, _variance("clipped_variance", after, at=at)]
    if not exists or np.isnan(removed.deviations).any():
        return [*lines, Row("clipping_bias", at=at, status="withheld")]
    if not each.hits:
        return [*lines, Row("clipping_bias", at=at, value=0.0, status="unresolved")]
    bias = _bias(removed)
    resolved = each.hits >= FEWEST_CLIPPED_BATCHES and bias.low > 0
    if each.hits < FEWEST_CLIPPED_BATCHES:
        bias = Interval(bias.value, math.nan, math.nan)
    return [
        *lines,
        row("clipping_bias", bias, "ok" if resolved else "unresolved", at=at),
        row("clipped_error", paired_estimators.squared_error(after, removed, 1, _bias), at=at),
    ]


def _bias(removed: Moments) -> Interval:
    """Return the interval of |E d|^2, with d the change by clipping, zero for unclipped batches.

    Where few batches are clipped, the variance of d grows with its mean: the score interval alone
    covers 79 to 90 %, the wider ends of it and of a jackknife of the fourth root, whose variance is
    then stable, 93 to 98 % (reports/variance_calibration).
    """
    found, squared = mean_norm_interval(removed), removed.estimates()[1]
    if not min(squared.value, squared.left_out.min()) > 0:
        return found
    root = squared.value**0.25
    reach = t_quantile(removed.n - 1) * jackknife_error(squared.left_out**0.25)
    return found.widened(max(root - reach, 0.0) ** 4, (root + reach) ** 4)


def _variance(quantity: str, moments: Moments, **where: Any) -> Row:
    if np.isnan(moments.deviations).any():
        return row(quantity, Interval(math.nan, math.nan, math.nan), "diverged", **where)
    if not moments.variance > 0:
        return row(quantity, Interval(moments.variance, math.nan, math.nan), "degenerate", **where)
    return row(quantity, variance_interval(moments), **where)


def _slope(quantity: str, samples: dict[int, Moments]) -> Row:
    """Fit the slope of log variance on log B, which need not be -1 after clipping."""
    usable = all(moments.variance > 0 for moments in samples.values())  # false of a NaN, too
    if len(samples) < 2 or not usable:
        return Row(quantity, status="withheld")
    line = log_slope(np.array(list(samples), float), list(samples.values()))
    return row(quantity, line.interval())


def _difference_moments(clipped: Array, whole: Array) -> Moments:
    return Moments.from_samples(clipped - whole.astype(np.float64))
