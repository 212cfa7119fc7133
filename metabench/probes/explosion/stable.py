"""Rows on the inner rate: stable rates, unstable tasks, and what stretches distances."""

from __future__ import annotations

import math

import numpy as np

from metabench.probes.quantile_rows import quantile
from metabench.records.rows import Row, row
from metabench.stats.intervals import Vector
from metabench.stats.proportions import share_interval
from metabench.stats.quantile_intervals import quantile_interval

SHARES = (0.5, 0.95)  # of tasks for which a stable rate is given
FEWEST_STEPS = 10  # inner steps below which instability is not counted


def stable_rate_rows(largest: Vector, edge: float, rate: float) -> list[Row]:
    """Return the rates below which curvature predicts 50 % and 95 % of tasks to be stable.

    Args:
        largest: largest eigenvalue of each task's inner Hessian at phi_0, `(T,)`; tasks for which
            it is not finite are left out, since no rate makes them finite.
        edge: rate times curvature at which the optimizer becomes unstable; 2 for plain descent.
        rate: the inner rate, for which the share of tasks past the edge is added.
    """
    each = stable_rates(largest[np.isfinite(largest)], edge)
    if not len(each):
        return [Row("stable_rate", status="diverged")]
    rows = [
        quantile("stable_rate", each, 1 - share, of=f"{100 * share:.0f} % of tasks")
        for share in SHARES
    ]
    rows = [r if r.value is not None else r._replace(status="unbounded") for r in rows]
    past = int((each < rate).sum())
    share = share_interval(past, len(each))
    return [*rows, row("past_edge", share, at=rate, of="rate")]


def stable_rates(largest: Vector, edge: float) -> Vector:
    """Return edge / lambda_max of each task, `(T,)`; infinite without positive curvature."""
    with np.errstate(divide="ignore"):
        return np.where(largest > 0, edge / np.where(largest > 0, largest, 1), np.inf)


def rates_to_count(largest: Vector, edge: float, rate: float) -> tuple[float, ...]:
    """Return the rates at which to count unstable tasks.

    They are the inner rate, and 0.5, 1 and 2 times the stable rates for each share of `SHARES`.

    Args:
        largest: largest eigenvalue of each task's inner Hessian at phi_0, `(T,)`.
        edge: rate times curvature at which the optimizer becomes unstable.
        rate: the inner rate.
    """
    each = stable_rates(largest[np.isfinite(largest)], edge)
    if not len(each):
        return ()
    around = [quantile_interval(each, 1 - share).value for share in SHARES]
    wanted = {rate, *(value * by for value in around for by in (0.5, 1.0, 2.0))}
    return tuple(sorted(float(f"{x:.3g}") for x in wanted if 0 < x < math.inf))


def counted_rows(rate: float, first: Vector, last: Vector, outer: Vector) -> list[Row]:
    """Count the tasks whose support loss ends above its start or is not finite; add median losses.

    Tasks whose loss is not finite at phi_0 are left out: that is not the rate's doing.

    Args:
        rate: the inner rate.
        first: support losses at phi_0, `(T,)`.
        last: support losses at phi_K, `(T,)`.
        outer: query losses at phi_K, `(T,)`.
    """
    known = np.isfinite(first)
    if not known.any():
        return [Row("unstable", at=rate, of="rate", status="diverged")]
    first, last, outer = first[known], last[known], outer[known]
    unstable = int((~(last <= first)).sum())
    return [
        row("unstable", share_interval(unstable, len(first)), at=rate, of="rate"),
        quantile("support_loss", last, at=rate, of="rate"),
        quantile("query_loss", outer, at=rate, of="rate"),
    ]


def stretching_rows(K: int, smallest: Vector, largest: Vector, rate: float) -> list[Row]:
    """Return how much one step of plain descent at phi_K stretches distances, and the cause.

    A step multiplies distances along an eigenvector by |1 - alpha lambda|, which exceeds 1 where
    lambda is negative or above 2 / alpha (overshoot). The larger of the two is the task's cause.

    Args:
        K: inner steps.
        smallest: smallest eigenvalue of each task's inner Hessian at phi_K, `(T,)`.
        largest: largest, likewise; not finite where it diverged.
        rate: the inner rate, alpha.
    """
    known = np.isfinite(largest)
    if not known.any():
        return [Row("stretching", at=float(K), of="curvature", status="diverged")]
    low, high = smallest[known], largest[known]
    down, over = 1 - rate * low, rate * high - 1
    worst = np.log(np.maximum(np.abs(down), np.abs(over)))
    slack = 1 + 10 * np.finfo(np.float32).eps  # a flat direction is no negative curvature
    share = {
        "overshoot": (over > slack) & (over >= down),
        "negative_curvature": (down > slack) & (down > over),
    }
    rows = [
        quantile("largest_eigenvalue", high, least=-math.inf, at=float(K), of="curvature"),
        quantile("smallest_eigenvalue", low, least=-math.inf, at=float(K), of="curvature"),
        quantile("stretching", worst, least=-math.inf, at=float(K), of="curvature"),
    ]
    for name, hits in share.items():
        interval = share_interval(int(hits.sum()), len(hits))
        rows.append(row(name, interval, at=float(K), of="curvature"))
    return rows
