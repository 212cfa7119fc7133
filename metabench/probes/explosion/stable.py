"""Which inner rate is stable for how many tasks, and is it overshoot or downhill curvature?"""

from __future__ import annotations

import math

import numpy as np

from metabench.probes.quantile_rows import quantile
from metabench.records.rows import Row, row
from metabench.stats.intervals import Vector
from metabench.stats.proportions import share_interval
from metabench.stats.quantile_intervals import quantile_interval

SHARES = (0.5, 0.95)  # of tasks that a rate is to be stable for
FEWEST = 10  # inner steps below which a loop isn't called unstable


def thresholds(largest: Vector, edge: float, rate: float) -> list[Row]:
    """Give the rates below which 50 % and 95 % of tasks are stable by their curvature."""
    each = rates_of(largest, edge)
    rows = [
        quantile("stable_rate", each, 1 - share, of=f"{100 * share:.0f} % of tasks")
        for share in SHARES
    ]
    rows = [r if r.value is not None else r._replace(status="unbounded") for r in rows]
    past = int((each < rate).sum())
    share = share_interval(past, len(each))
    return [*rows, row("past_edge", share, at=rate, of="rate")]


def rates_of(largest: Vector, edge: float) -> Vector:
    """Give edge / lambda_max of each task; infinite where nothing curves up."""
    with np.errstate(divide="ignore"):
        return np.where(largest > 0, edge / np.where(largest > 0, largest, 1), np.inf)


def tried(largest: Vector, edge: float, rate: float) -> tuple[float, ...]:
    """Choose rates to count at on held-out tasks: one's own, and around both quantiles."""
    each = rates_of(largest, edge)
    around = [quantile_interval(each, 1 - share).value for share in SHARES]
    wanted = {rate, *(value * by for value in around for by in (0.5, 1.0, 2.0))}
    return tuple(sorted(float(f"{x:.3g}") for x in wanted if 0 < x < math.inf))


def counted(rate: float, first: Vector, last: Vector, outer: Vector) -> list[Row]:
    """Count the tasks whose inner loss ends above where it began, or isn't finite."""
    unstable = int((~(last <= first)).sum())
    return [
        row("unstable", share_interval(unstable, len(first)), at=rate, of="rate"),
        quantile("support_loss", last, at=rate, of="rate"),
        quantile("query_loss", outer, at=rate, of="rate"),
    ]


def causes(K: int, smallest: Vector, largest: Vector, rate: float) -> list[Row]:
    """Say at phi_K what stretches plain descent there: overshoot, or curvature below zero.

    The step multiplies along an eigenvector by 1 - alpha lambda, beyond 1 in size where lambda is
    negative or above 2 / alpha; whichever stretches more is a task's cause.
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
