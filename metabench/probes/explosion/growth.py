"""Rows on norms over K: quantiles over tasks, growth rates, the adjoint, divergence."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from metabench.probes.quantile_rows import quantile
from metabench.records.rows import Row, row
from metabench.stats.intervals import Interval, Vector
from metabench.stats.proportions import share_interval

FEWEST_K = 3  # values of K needed to fit a growth rate
PLACES_LISTED = 40  # inner steps whose adjoint gets a row
SHARES = {"norm_low": 0.05, "norm": 0.5, "norm_high": 0.95}


class UnrollStatistics(NamedTuple):
    """Statistics of the unrolls of T tasks, in float64."""

    at: tuple[int, ...]  # the n values of K
    norms: Vector  # |g(K)|, (T, n)
    layers: dict[str, Vector]  # of each layer of theta, (T, n)
    drift: dict[str, Vector]  # of each layer's features, at phi_0 and each phi_K, (T, n + 1, 2)
    ends: Vector  # |v_K|, (T, n)
    starts: Vector  # |v_0|, (T, n)
    inner: Vector  # support loss at phi_K, (T, n)
    outer: Vector  # query loss at phi_K, (T, n)
    adjoint: Vector  # |v_k| from the largest K, (T, K + 1)
    forward: NDArray[np.bool_]  # whether each layer of phi_k is finite, (T, K + 1, layers)
    backward: NDArray[np.bool_]  # of v_k


def rows_of(stats: UnrollStatistics, names: tuple[str, ...]) -> list[Row]:
    """Return quantiles at each K, growth rates, norms of the adjoint, and the first divergence."""
    rows = []
    for i, K in enumerate(stats.at):
        for quantity, share in SHARES.items():
            rows.append(quantile(quantity, stats.norms[:, i], share, at=float(K)))
        rows.append(_diverged_row(stats.norms[:, i], K))
        rows.append(quantile("query_gradient", stats.ends[:, i], at=float(K)))
        if K:
            with np.errstate(divide="ignore", invalid="ignore"):  # 0 / 0: a zero query gradient
                ratio = stats.starts[:, i] / stats.ends[:, i]
            rows.append(quantile("amplification_by_step", ratio, at=float(K)))
        rows.append(quantile("support_loss", stats.inner[:, i], at=float(K)))
        rows.append(quantile("query_loss", stats.outer[:, i], at=float(K)))
    rows += _growth_rows(stats)
    rows += _adjoint_rows(stats)
    return rows + _first_diverged(stats, names)


def growth_rates(norms: Vector, at: tuple[int, ...]) -> Vector:
    """Fit log |g(K)| = a + r K for each task over K >= 1 and return the rates r, `(T,)`.

    Only values before the first that is not finite are used. The rate is infinite with fewer than
    three of them, and minus infinite if one is zero.
    """
    K = np.array(at, np.float64)
    keep = K >= 1
    x, y = K[keep], norms[:, keep]
    found = np.empty(len(norms))
    for i, line in enumerate(y):
        good = np.cumprod(np.isfinite(line)).astype(bool)
        if good.sum() < FEWEST_K:
            found[i] = np.inf
        elif (line[good] == 0).any():
            found[i] = -np.inf
        else:
            away = x[good] - x[good].mean()
            found[i] = away @ np.log(line[good]) / (away @ away)
    return found


def _growth_rows(stats: UnrollStatistics) -> list[Row]:
    if sum(K >= 1 for K in stats.at) < FEWEST_K:
        return [Row("growth", status="withheld")]
    each = growth_rates(stats.norms, stats.at)
    rows = [quantile("growth", each, least=-math.inf)]
    hits = int((each > 0).sum())
    rows.append(row("growing_share", share_interval(hits, len(each))))
    for name, norms in stats.layers.items():
        rows.append(quantile("growth", growth_rates(norms, stats.at), least=-math.inf, layer=name))
    return rows


def _adjoint_rows(stats: UnrollStatistics) -> list[Row]:
    """Return |v_k| / |v_K| of the backward pass from the largest K, at about forty k."""
    K = stats.at[-1]
    if K == 0:
        return []
    with np.errstate(divide="ignore", invalid="ignore"):
        relative = stats.adjoint / stats.adjoint[:, -1:]
    places = sorted({round(k) for k in np.linspace(0, K, min(K + 1, PLACES_LISTED + 1))})
    return [quantile("adjoint", relative[:, k], at=float(k), of="k") for k in places]


def _diverged_row(norms: Vector, K: int) -> Row:
    hits = int((~np.isfinite(norms)).sum())
    interval: Interval = share_interval(hits, len(norms))
    return row("diverged", interval, "diverged" if hits else "ok", at=float(K))


def _first_diverged(stats: UnrollStatistics, names: tuple[str, ...]) -> list[Row]:
    """Return the task, inner step and layer of the first value that is not finite."""
    for of, flags in (("phi", stats.forward), ("v", stats.backward)):
        broken = np.asarray(~flags.all(2))  # (T, K + 1)
        if not broken.any():
            continue
        steps = broken.argmax(1)
        if of == "v":  # computed from the last step to the first
            steps = broken[:, ::-1].argmax(1) - broken.shape[1] + 1
        steps = np.where(broken.any(1), steps, np.iinfo(np.int64).max)
        task = int(steps.argmin())
        k = abs(int(steps[task]))
        layer = names[int((~flags[task, k]).argmax())]
        return [
            Row("first_diverged", value=float(task), of="task"),
            Row("first_diverged", value=float(k), of=f"step of {of}, in {layer}"),
        ]
    return []
