"""Which share of a spectrum lies below each value, with a band that leaves nothing out."""

from __future__ import annotations

import numpy as np

from metabench.probes.spectrum.task_spectra import Inside
from metabench.records.rows import Row, row
from metabench.stats.intervals import Interval, Vector
from metabench.stats.mean_intervals import mean_share_interval

EPS = 1e-6  # weights add up to 1 to no more than the model's precision
ROUND_OFF = 1e-6  # of the largest eigenvalue: float32's own, within which values are the same
GRID = 60  # places at which the density is evaluated


def density(inside: Inside, exact: bool, place: str) -> list[Row]:
    r"""Give the share of eigenvalues up to each place of a grid, mean over tasks.

    The band adds to the interval over tasks and start vectors what the quadrature leaves open: the
    measure up to a point is at least the weights strictly left of the last node before it, and at
    most those up to the first node after it (Chen, Trogdon & Ubaru, 2021,
    https://arxiv.org/abs/2105.06595).
    """
    return [
        row("cumulative_density", _clipped(_share(inside, x, exact)), of=place, at=float(x))
        for x in _grid(inside)
    ]


def _share(inside: Inside, x: float, exact: bool) -> Interval:
    slack = ROUND_OFF * np.abs(inside.values).max(where=inside.weights > 0, initial=0.0)
    count = (inside.values <= x + slack).sum(2, keepdims=True)  # (T, s, 1)
    nothing = np.zeros((*inside.weights.shape[:2], 1))
    below = np.concatenate([nothing, np.cumsum(inside.weights, 2)], 2)

    def up_to(nodes: Vector) -> Vector:
        within = np.clip(nodes, 0, below.shape[2] - 1).astype(int)
        each: Vector = np.take_along_axis(below, within, 2)[:, :, 0].mean(1)
        return each

    middle = up_to(count)
    open_ = 0 if exact else 1
    under, over = up_to(count - open_), up_to(count + open_)
    low, high = mean_share_interval(_whole(under)).low, mean_share_interval(_whole(over)).high
    return Interval(float(middle.mean()), low, high)


def _whole(shares: Vector) -> Vector:
    """Take what differs from nothing, or from everything, by round-off for just that."""
    shares = np.where(shares < EPS, 0.0, shares)
    exact: Vector = np.where(shares > 1 - EPS, 1.0, shares)
    return exact


def _grid(inside: Inside) -> Vector:
    """Space the grid by the nodes' own quantiles, since spectra are dense near zero."""
    nodes = inside.values[np.isfinite(inside.values) & (inside.weights > 0)]
    return np.unique(np.quantile(nodes, np.linspace(0, 1, GRID)))


def _clipped(interval: Interval) -> Interval:
    """Keep the ends in [0, 1], where a share is; the value may be off them by round-off."""
    value, low, high = interval
    return Interval(min(max(value, 0.0), 1.0), max(low, 0.0), min(high, 1.0))
