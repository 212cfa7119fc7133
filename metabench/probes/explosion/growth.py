"""From norms over K to quantiles over tasks and growth exponents, a slope a task."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from metabench.probes.quantile_rows import quantile
from metabench.records.rows import Row, row
from metabench.stats.intervals import Interval, Vector
from metabench.stats.proportions import share_interval

FEWEST = 3  # values of K that a slope takes
THINNED = 40  # places of the way back that are told
SHARES = {"norm_low": 0.05, "norm": 0.5, "norm_high": 0.95}


class InnerWalk(NamedTuple):
    """What the paths of T tasks gave, in float64."""

    at: tuple[int, ...]  # the n values of K
    norms: Vector  # |g(K)|, (T, n)
    layers: dict[str, Vector]  # of each layer of theta, (T, n)
    drift: dict[str, Vector]  # of each layer's features, at phi_0 and each phi_K, (T, n + 1, 2)
    ends: Vector  # |v_K|, (T, n)
    starts: Vector  # |v_0|, (T, n)
    inner: Vector  # support loss at phi_K, (T, n)
    outer: Vector  # query loss at phi_K, (T, n)
    adjoint: Vector  # |v_k| on the longest path, (T, K + 1)
    forward: NDArray[np.bool_]  # whether each layer of phi_k is finite, (T, K + 1, layers)
    backward: NDArray[np.bool_]  # of v_k


def rows_of(walk: InnerWalk, names: tuple[str, ...]) -> list[Row]:
    """Give quantiles at each K, growth, the way back, and who was first to diverge."""
    rows = []
    for i, K in enumerate(walk.at):
        for quantity, share in SHARES.items():
            rows.append(quantile(quantity, walk.norms[:, i], share, at=float(K)))
        rows.append(_diverged(walk.norms[:, i], K))
        rows.append(quantile("query_gradient", walk.ends[:, i], at=float(K)))
        if K:
            with np.errstate(divide="ignore", invalid="ignore"):  # 0 / 0: nothing to pass on
                ratio = walk.starts[:, i] / walk.ends[:, i]
            rows.append(quantile("amplification_by_step", ratio, at=float(K)))
        rows.append(quantile("support_loss", walk.inner[:, i], at=float(K)))
        rows.append(quantile("query_loss", walk.outer[:, i], at=float(K)))
    rows += _growth(walk)
    rows += _way_back(walk)
    return rows + _first(walk, names)


def slopes(norms: Vector, at: tuple[int, ...]) -> Vector:
    """Give each task's slope of log |g(K)| on K >= 1, up to where it is first not finite, `(T,)`.

    Infinite where fewer than three values are finite, minus infinite where they are zero.
    """
    K = np.array(at, np.float64)
    keep = K >= 1
    x, y = K[keep], norms[:, keep]
    found = np.empty(len(norms))
    for i, line in enumerate(y):
        good = np.cumprod(np.isfinite(line)).astype(bool)
        if good.sum() < FEWEST:
            found[i] = np.inf
        elif (line[good] == 0).any():
            found[i] = -np.inf
        else:
            away = x[good] - x[good].mean()
            found[i] = away @ np.log(line[good]) / (away @ away)
    return found


def _growth(walk: InnerWalk) -> list[Row]:
    if sum(K >= 1 for K in walk.at) < FEWEST:
        return [Row("growth", status="withheld")]
    each = slopes(walk.norms, walk.at)
    rows = [quantile("growth", each, least=-math.inf)]
    hits = int((each > 0).sum())
    rows.append(row("growing_share", share_interval(hits, len(each))))
    for name, norms in walk.layers.items():
        rows.append(quantile("growth", slopes(norms, walk.at), least=-math.inf, layer=name))
    return rows


def _way_back(walk: InnerWalk) -> list[Row]:
    """Give |v_k| / |v_K| along the longest path, at some forty k."""
    K = walk.at[-1]
    if K == 0:
        return []
    with np.errstate(divide="ignore", invalid="ignore"):
        relative = walk.adjoint / walk.adjoint[:, -1:]
    places = sorted({round(k) for k in np.linspace(0, K, min(K + 1, THINNED + 1))})
    return [quantile("adjoint", relative[:, k], at=float(k), of="k") for k in places]


def _diverged(norms: Vector, K: int) -> Row:
    hits = int((~np.isfinite(norms)).sum())
    interval: Interval = share_interval(hits, len(norms))
    return row("diverged", interval, "diverged" if hits else "ok", at=float(K))


def _first(walk: InnerWalk, names: tuple[str, ...]) -> list[Row]:
    """Name the task, inner step and layer that was first to have a number that isn't finite."""
    for of, flags in (("phi", walk.forward), ("v", walk.backward)):
        broken = np.asarray(~flags.all(2))  # (T, K + 1)
        if not broken.any():
            continue
        steps = broken.argmax(1)
        if of == "v":  # which is walked from the end
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
