"""Distances between meta-gradients of the same tasks: each task's own, and those of their means."""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import numpy as np

from metabench.probes.quantile_rows import quantile
from metabench.records.rows import Row, row
from metabench.stats import intervals, paired_estimators, tail_index
from metabench.stats.intervals import Interval, Vector
from metabench.stats.moments import Moments
from metabench.stats.proportions import share_interval

OVERFLOW = 1e70  # entries beyond which squares of squares overflow float64
CONVERGED = 1e-3  # |grad G| over |g| below which a long descent has found its minimum


def against(
    found: Vector, reference: Vector, K: int, name: str, to: str, poles: bool = False
) -> list[Row]:
    """Give the median task's relative error and, of the expected gradients, angle and lengths.

    `to` ends the quantities' names: nothing for the gradient at the inner minimum, `_unrolled`.
    With `poles` there are no expectations: where the inverse of a Hessian is taken that curves
    down in some tasks, others lie arbitrarily near the pole between, and 1 / x has no mean there.
    """
    rows = [median(f"error{to}", relative(found, reference), K, name)]
    where: dict[str, Any] = {"at": float(K), "of": name}
    return rows + (_none(to, **where) if poles else _of_means(found, reference, to, **where))


def layers(
    found: Vector, reference: Vector, name: str, segments: dict[str, slice], poles: bool = False
) -> list[Row]:
    """Give error and angle of each layer of theta, against the unroll at the largest K."""
    rows = []
    for layer, part in segments.items() if len(segments) > 1 else ():
        a, b = found[:, part], reference[:, part]
        line = quantile("error_unrolled", relative(a, b), of=name, layer=layer)
        where: dict[str, Any] = {"of": name, "layer": layer}
        means = _none if poles else partial(_of_means, a, b)
        rows += [line, *means("_unrolled", **where)[:1]]
    return rows


def relative(found: Vector, reference: Vector) -> Vector:
    """Give |found - reference| / |reference| of each task, 0 where both are the same, `(T,)`."""
    gap = np.linalg.norm(found - reference, axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(gap == 0, 0.0, gap / np.linalg.norm(reference, axis=1))


def median(quantity: str, values: Vector, at: float, name: str) -> Row:
    """Give the median over tasks with its order-statistic interval."""
    return quantile(quantity, values, at=float(at), of=name)


def parts(
    best: Vector, exact: Vector, double: Vector, rough: Vector, K: int, name: str, implicit: bool
) -> list[Row]:
    """Take an error apart, each part relative to the gradient at the inner minimum.

    Inner convergence: the exact solve at phi_K less the gradient at the minimum. Method: float64
    less the exact solve, which is the solver's residual for an implicit one, and for others what
    they aren't by definition. Arithmetic: float32 less float64. The three vectors sum to the error.
    """
    size = np.linalg.norm(best, axis=1)
    word = "solver" if implicit else "method"
    gaps = {"inner convergence": exact - best, word: double - exact, "arithmetic": rough - double}
    rows = []
    for part, gap in gaps.items():
        with np.errstate(divide="ignore", invalid="ignore"):
            share = np.linalg.norm(gap, axis=1) / size
        rows.append(quantile("error_part", share, at=float(K), of=f"{name}: {part}"))
    return rows


def settled(slope: Vector) -> list[Row]:
    """Say how flat the inner objective is where the reference stands, and for how many tasks."""
    line = quantile("gradient_norm_at_minimum", slope)
    hits = int((slope <= CONVERGED).sum())
    return [line, row("minimum_found", share_interval(hits, len(slope)))]


def curves_down(notes: dict[str, Vector]) -> bool:
    """Say whether the inner objective curves down in some tasks where the solver looked."""
    return bool((notes["curvature"] <= 0).any())


def convexity(notes: dict[str, Vector], K: int) -> list[Row]:
    """Count the tasks whose inner objective curves down at phi_K where the solver looked."""
    curvature = notes["curvature"]
    known = np.isfinite(curvature)
    if not known.any():
        return []
    hits = int((curvature[known] <= 0).sum())
    least = Row("least_curvature", at=float(K), value=float(curvature[known].min()))
    return [row("saddles", share_interval(hits, int(known.sum())), at=float(K)), least]


def residual(notes: dict[str, Vector], K: int, name: str) -> list[Row]:
    """Give the median relative residual of the linear solve."""
    return [median("residual", notes["residual"], K, name)] if "residual" in notes else []


def halves(half: dict[str, Vector], double: dict[str, Vector], K: int) -> list[Row]:
    """Give what bfloat16 makes of each method, against itself in float64."""
    return [median("bfloat16_error", relative(half[n], double[n]), K, n) for n in half]


def _of_means(found: Vector, reference: Vector, to: str, **where: Any) -> list[Row]:
    """Give cosine and ratio of norms of the two expectations, from U-statistics.

    Withheld where either's tail says that it has no second moment, or tasks are fewer than four.
    """
    if max(np.abs(found).max(initial=0), np.abs(reference).max(initial=0)) > OVERFLOW:
        return _none(to, "overflow", **where)
    if len(found) < 4 or not (np.isfinite(found).all() and np.isfinite(reference).all()):
        return _none(to, "withheld" if len(found) < 4 else "diverged", **where)
    a, b, d = Moments.of(found), Moments.of(reference), Moments.of(found - reference)
    if (
        tail_index.heaviest(a, b) < tail_index.MOMENTS
    ):  # as an inverse has whose Hessian may be singular
        return _none(to, **where)
    angle = row(f"cosine{to}", paired_estimators.cosine(a, b, d), **where)
    if angle.value is None:
        angle = angle._replace(status="unresolved")
    return [angle, _ratio(a, b, f"norm_ratio{to}", **where)]


def _none(to: str, status: str = "withheld", **where: Any) -> list[Row]:
    return [Row(f"{name}{to}", status=status, **where) for name in ("cosine", "norm_ratio")]


def _ratio(a: Moments, b: Moments, quantity: str, **where: Any) -> Row:
    """Bracket |E a| / |E b| by a jackknife of its logarithm."""
    (_, top), (_, bottom) = a.estimates(), b.estimates()
    if min(top.value, bottom.value, top.left_out.min(), bottom.left_out.min()) <= 0:
        return Row(quantity, status="unresolved", **where)
    value = math.sqrt(top.value / bottom.value)
    logs = np.log(top.left_out / bottom.left_out) / 2
    reach = intervals.quantile(a.n - 1) * intervals.spread(logs)
    if not reach < intervals.MOST:
        return Row(quantity, value=value, status="unresolved", **where)
    return row(
        quantity, Interval(value, value * math.exp(-reach), value * math.exp(reach)), **where
    )
