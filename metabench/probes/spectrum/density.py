"""Cumulative eigenvalue densities, with bands that cover the quadrature error."""

from __future__ import annotations

import numpy as np

from metabench.probes.spectrum.task_spectra import Densities
from metabench.records.rows import Row, row
from metabench.stats.intervals import Interval, Vector
from metabench.stats.mean_intervals import mean_share_interval

WEIGHT_ERROR = 1e-6  # weights add up to 1 only to the model's precision
ROUND_OFF = 1e-6  # of the largest eigenvalue: values closer than this count as equal (float32)
GRID_POINTS = 60  # at which the density is evaluated


def density(densities: Densities, exact: bool, place: str) -> list[Row]:
    r"""Return the share of eigenvalues below each point of a grid, mean over tasks.

    The band is the interval over tasks and start vectors, widened by the quadrature's error: the
    measure up to a point is at least the weights strictly left of the last node before it, and at
    most those up to the first node after it (Chen, Trogdon & Ubaru, 2021,
    https://arxiv.org/abs/2105.06595).

    Args:
        densities: nodes and weights of every task's quadratures.
        exact: whether the nodes are all the eigenvalues, so that there is no quadrature error.
        place: value of `of` in the rows.
    """
    return [
        row("cumulative_density", _clipped(_share(densities, x, exact)), of=place, at=float(x))
        for x in _grid(densities)
    ]


def _share(densities: Densities, x: float, exact: bool) -> Interval:
    slack = ROUND_OFF * np.abs(densities.values).max(where=densities.weights > 0, initial=0.0)
    count = (densities.values <= x + slack).sum(2, keepdims=True)  # (T, s, 1)
    nothing = np.zeros((*densities.weights.shape[:2], 1))
    below = np.concatenate([nothing, np.cumsum(densities.weights, 2)], 2)

    def up_to(nodes: Vector) -> Vector:
        within = np.clip(nodes, 0, below.shape[2] - 1).astype(int)
        each: Vector = np.take_along_axis(below, within, 2)[:, :, 0].mean(1)
        return each

    middle = up_to(count)
    open_ = 0 if exact else 1
    under, over = up_to(count - open_), up_to(count + open_)
    low, high = mean_share_interval(_rounded(under)).low, mean_share_interval(_rounded(over)).high
    return Interval(float(middle.mean()), low, high)


def _rounded(shares: Vector) -> Vector:
    """Set shares that differ from 0 or 1 by round-off to exactly 0 or 1."""
    shares = np.where(shares < WEIGHT_ERROR, 0.0, shares)
    exact: Vector = np.where(shares > 1 - WEIGHT_ERROR, 1.0, shares)
    return exact


def _grid(densities: Densities) -> Vector:
    """Return quantiles of the nodes as the grid, since spectra are dense near zero."""
    nodes = densities.values[np.isfinite(densities.values) & (densities.weights > 0)]
    return np.unique(np.quantile(nodes, np.linspace(0, 1, GRID_POINTS)))


def _clipped(interval: Interval) -> Interval:
    """Clip a share to [0, 1], which round-off may leave."""
    value, low, high = interval
    return Interval(min(max(value, 0.0), 1.0), max(low, 0.0), min(high, 1.0))
