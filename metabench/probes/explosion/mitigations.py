"""What is tried against growth on the same tasks: how much of it goes, and what bias is paid?"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from metabench.algorithms import counterparts
from metabench.probes.explosion.paths import eagerly, numpy
from metabench.probes.quantile_rows import quantile
from metabench.problems.tasks import Address
from metabench.records.rows import Row, row
from metabench.stats import paired_estimators, tail_index
from metabench.stats.intervals import RESOLVED, Vector
from metabench.stats.mean_intervals import squared_norm_interval
from metabench.stats.moments import Moments
from metabench.stats.proportions import share_interval

if TYPE_CHECKING:
    from metabench.algorithms.base import Algorithm
    from metabench.estimation.estimator_on_tasks import Subject
    from metabench.probes.explosion import Explosion

CLIPPED = (0.5, 0.75, 0.9)  # quantiles of norms, and of largest entries, taken as thresholds
SLOWER = (0.5, 0.25)  # times the inner rate
BACK = 5  # steps that truncation goes back
SQUARES = 6.0  # tail index below which the interval of a variance is withheld


def mitigations(
    probe: Explosion,
    subject: Subject,
    algorithm: Algorithm,
    seed: int,
    advance: Callable[[int], None],
) -> list[Row]:
    """Hold each mitigation against the exact meta-gradient at one K, task by task.

    Clipping acts on each task's meta-gradient, or on its inner gradients; the rest are other
    algorithms or settings of the inner loop.
    """
    K = min(probe.mitigated, probe.steps)
    exact = counterparts.exact(algorithm, K)
    plain, _ = _gradients(probe, subject, exact, seed)
    advance(probe.tasks)
    if not np.isfinite(plain).all():
        return [Row("norm_kept", at=float(K), status="diverged")]
    rows = []
    for name, grads, clipped in _clips(plain):
        share = share_interval(int(clipped.sum()), len(clipped))
        rows.append(row("share_clipped", share, at=float(K), of=name))
        rows += _held(plain, grads, K, name)
    for name, other in _others(exact):
        grads, down = _gradients(probe, subject, other, seed)
        rows += _held(plain, grads, K, name, poles=bool(down.any()))
        advance(probe.tasks)
    return rows


def _gradients(
    probe: Explosion, subject: Subject, algorithm: Algorithm, seed: int
) -> tuple[Vector, NDArray[np.bool_]]:
    """Give one algorithm's meta-gradients of the tasks, `(T, Q)`.

    Second, where it inverts Hessians, which tasks' were seen to curve down, `(T,)`.
    """
    looked = replace(subject, algorithm=algorithm, compute=replace(eagerly(subject), chunk=64))
    found = looked.meta_gradients(Address.fresh(0, probe.tasks), seed)
    grads = numpy(found.grad)
    curvature = found.notes.get("curvature")
    down = np.zeros(len(grads), bool) if curvature is None else numpy(curvature) <= 0
    return grads, down


def _clips(plain: Vector) -> Iterator[tuple[str, Vector, Vector]]:
    """Clip each task's meta-gradient, by norm and by value; which tasks that changes."""
    norms, largest = np.linalg.norm(plain, axis=1), np.abs(plain).max(1)
    for share in CLIPPED:
        limit = float(np.quantile(norms, share))
        scale = np.minimum(1, limit / np.where(norms > 0, norms, 1))
        yield f"clip norm {limit:.3g}", plain * scale[:, None], norms > limit
    for share in CLIPPED:
        limit = float(np.quantile(largest, share))
        yield f"clip value {limit:.3g}", np.clip(plain, -limit, limit), largest > limit


def _others(exact: Algorithm) -> Iterator[tuple[str, Algorithm]]:
    """Give what else is tried, at the same K."""
    K, step = exact.steps, exact.inner_optimizer
    for by in SLOWER:
        yield f"rate x {by:g}", replace(exact, inner_optimizer=replace(step, rate=by * step.rate))
    yield "inner clip 1", replace(exact, inner_optimizer=replace(step, clip_norm=1.0))
    if K > BACK:
        yield f"truncate {BACK}", counterparts.truncated(exact, K, BACK)
    yield "first order", counterparts.first_order(exact, K)
    yield "implicit", counterparts.implicit(exact, K)


def _held(plain: Vector, grads: Vector, K: int, name: str, poles: bool = False) -> list[Row]:
    """Give the norm and the variance that are left, and the bias that is paid.

    With `poles`, as an inverse has between Hessians that curve up and down, there are no means.
    """
    if not np.isfinite(grads).all():
        return [Row("norm_kept", at=float(K), of=name, status="diverged")]
    with np.errstate(divide="ignore", invalid="ignore"):
        left = np.linalg.norm(grads, axis=1) / np.linalg.norm(plain, axis=1)
    rows = [quantile("norm_kept", left, at=float(K), of=name)]
    if len(plain) < 4:
        return rows
    a, b, d = (Moments.of(each) for each in (grads, plain, grads - plain))
    heavy = tail_index.heaviest(a, b)
    if (
        poles or heavy < tail_index.MOMENTS
    ):  # no second moments: what the sample has aren't the tasks'
        names = ("bias", "cosine", "variance_left")
        return [*rows, *(Row(each, at=float(K), of=name, status="withheld") for each in names)]
    bias = squared_norm_interval(grads - plain)
    status = "ok" if bias.low > 0 else "unresolved"
    rows.append(row("bias", bias, status, at=float(K), of=name))
    angle = row("cosine", paired_estimators.cosine(a, b, d), at=float(K), of=name)
    rows.append(angle if angle.value is not None else angle._replace(status="unresolved"))
    ratio = paired_estimators.skewed_ratio(a, b)
    state = "ok" if math.isfinite(ratio.value) else "degenerate"
    if heavy < SQUARES or len(plain) < RESOLVED:  # so that an interval would not cover
        ratio, state = ratio._replace(low=math.nan, high=math.nan), "unresolved"
    return [*rows, row("variance_left", ratio, state, at=float(K), of=name)]
