"""Mitigations of growth, measured on the same tasks: the norm and variance left, and the bias."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from metabench.algorithms import counterparts
from metabench.probes.explosion.paths import eager_vectorization, to_numpy
from metabench.probes.quantile_rows import quantile
from metabench.problems.tasks import Address
from metabench.records.rows import Row, row
from metabench.stats import paired_estimators, tail_index
from metabench.stats.intervals import FEWEST_TASKS_IF_SKEWED, Vector
from metabench.stats.mean_intervals import squared_norm_interval
from metabench.stats.moments import Moments
from metabench.stats.proportions import share_interval

if TYPE_CHECKING:
    from metabench.algorithms.base import Algorithm
    from metabench.estimation.estimator_on_tasks import Subject
    from metabench.probes.explosion import Explosion

CLIP_QUANTILES = (0.5, 0.75, 0.9)  # of norms, and of largest entries, used as thresholds
RATE_FACTORS = (0.5, 0.25)  # multiples of the inner rate
TRUNCATED_STEPS = 5  # that truncated backpropagation goes back
LEAST_TAIL_INDEX = 6.0  # tail index below which the interval of a variance is withheld


def mitigation_rows(
    probe: Explosion,
    subject: Subject,
    algorithm: Algorithm,
    seed: int,
    advance: Callable[[int], None],
) -> list[Row]:
    """Compare each mitigation with the exact meta-gradient at one K, on the same tasks.

    Clipping acts on each task's meta-gradient, or on its inner gradients; the rest are other
    algorithms or settings of the inner loop.

    Args:
        probe: its settings.
        subject: what is measured.
        algorithm: whose inner loop is mitigated.
        seed: of the tasks.
        advance: called with the number of tasks done.
    """
    K = min(probe.mitigated, probe.steps)
    exact = counterparts.exact(algorithm, K)
    plain, _ = _gradients(probe, subject, exact, seed)
    advance(probe.tasks)
    if not np.isfinite(plain).all():
        return [Row("norm_kept", at=float(K), status="diverged")]
    rows = []
    for name, grads, clipped in _clipped_gradients(plain):
        share = share_interval(int(clipped.sum()), len(clipped))
        rows.append(row("share_clipped", share, at=float(K), of=name))
        rows += _comparison_rows(plain, grads, K, name)
    for name, other in _other_algorithms(exact):
        grads, down = _gradients(probe, subject, other, seed)
        rows += _comparison_rows(plain, grads, K, name, has_poles=bool(down.any()))
        advance(probe.tasks)
    return rows


def _gradients(
    probe: Explosion, subject: Subject, algorithm: Algorithm, seed: int
) -> tuple[Vector, NDArray[np.bool_]]:
    """Return one algorithm's meta-gradients of the tasks, `(T, Q)`.

    Also, for implicit ones, in which tasks the solver met negative curvature, `(T,)`.
    """
    other = replace(
        subject, algorithm=algorithm, compute=replace(eager_vectorization(subject), chunk=64)
    )
    found = other.meta_gradients(Address.fresh(0, probe.tasks), seed)
    grads = to_numpy(found.grad)
    curvature = found.notes.get("curvature")
    down = np.zeros(len(grads), bool) if curvature is None else to_numpy(curvature) <= 0
    return grads, down


def _clipped_gradients(plain: Vector) -> Iterator[tuple[str, Vector, Vector]]:
    """Yield name, meta-gradients clipped by norm or by value, and which tasks were clipped."""
    norms, largest = np.linalg.norm(plain, axis=1), np.abs(plain).max(1)
    for share in CLIP_QUANTILES:
        limit = float(np.quantile(norms, share))
        scale = np.minimum(1, limit / np.where(norms > 0, norms, 1))
        yield f"clip norm {limit:.3g}", plain * scale[:, None], norms > limit
    for share in CLIP_QUANTILES:
        limit = float(np.quantile(largest, share))
        yield f"clip value {limit:.3g}", np.clip(plain, -limit, limit), largest > limit


def _other_algorithms(exact: Algorithm) -> Iterator[tuple[str, Algorithm]]:
    """Yield the other mitigations at the same K, with their names."""
    K, step = exact.steps, exact.inner_optimizer
    for by in RATE_FACTORS:
        yield f"rate x {by:g}", replace(exact, inner_optimizer=replace(step, rate=by * step.rate))
    yield "inner clip 1", replace(exact, inner_optimizer=replace(step, clip_norm=1.0))
    if K > TRUNCATED_STEPS:
        yield f"truncate {TRUNCATED_STEPS}", counterparts.truncated(exact, K, TRUNCATED_STEPS)
    yield "first order", counterparts.first_order(exact, K)
    yield "implicit", counterparts.implicit(exact, K)


def _comparison_rows(
    plain: Vector, grads: Vector, K: int, name: str, has_poles: bool = False
) -> list[Row]:
    """Return the norm and variance that a mitigation leaves, its bias and its cosine.

    With `has_poles`, all but the norm are withheld: an inverse of Hessians that are indefinite in
    some tasks has poles, and may have no mean.
    """
    if not np.isfinite(grads).all():
        return [Row("norm_kept", at=float(K), of=name, status="diverged")]
    with np.errstate(divide="ignore", invalid="ignore"):
        left = np.linalg.norm(grads, axis=1) / np.linalg.norm(plain, axis=1)
    rows = [quantile("norm_kept", left, at=float(K), of=name)]
    if len(plain) < 4:
        return rows
    a, b, d = (Moments.from_samples(each) for each in (grads, plain, grads - plain))
    heavy = tail_index.lowest_tail_index(a, b)
    if (
        has_poles or heavy < tail_index.MOMENTS
    ):  # no second moments: the sample's don't estimate the tasks'
        names = ("bias", "cosine", "variance_left")
        return [*rows, *(Row(each, at=float(K), of=name, status="withheld") for each in names)]
    bias = squared_norm_interval(grads - plain)
    status = "ok" if bias.low > 0 else "unresolved"
    rows.append(row("bias", bias, status, at=float(K), of=name))
    angle = row("cosine", paired_estimators.cosine(a, b, d), at=float(K), of=name)
    rows.append(angle if angle.value is not None else angle._replace(status="unresolved"))
    ratio = paired_estimators.skewed_variance_ratio(a, b)
    state = "ok" if math.isfinite(ratio.value) else "degenerate"
    if (
        heavy < LEAST_TAIL_INDEX or len(plain) < FEWEST_TASKS_IF_SKEWED
    ):  # the interval would not cover
        ratio, state = ratio._replace(low=math.nan, high=math.nan), "unresolved"
    return [*rows, row("variance_left", ratio, state, at=float(K), of=name)]
