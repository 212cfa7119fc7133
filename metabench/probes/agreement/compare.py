"""Rows that compare the meta-gradients of two methods: per task, and in expectation."""

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

LARGEST_ENTRY = 1e70  # beyond which squares of squares overflow float64
CONVERGED_NORM = 1e-3  # |grad G| / |g| below which a descent has found its minimum


def comparison_rows(
    grads: Vector, reference: Vector, K: int, name: str, suffix: str, has_poles: bool = False
) -> list[Row]:
    """Return the median relative error, and cosine and norm ratio of the expected gradients.

    Args:
        grads: meta-gradients of the method, `(T, Q)`.
        reference: meta-gradients of the reference, `(T, Q)`.
        K: inner steps.
        name: the method.
        suffix: of the quantities: "" for the gradient at the inner minimum, or "_unrolled".
        has_poles: cosine and norm ratio are withheld, because the expectation may not exist: an
            inverse of Hessians that are indefinite in some tasks has poles, and 1 / x has no mean
            across one.
    """
    rows = [median_row(f"error{suffix}", relative_error(grads, reference), K, name)]
    where: dict[str, Any] = {"at": float(K), "of": name}
    if has_poles:
        return rows + _no_expectation(suffix, **where)
    return rows + _expectation_rows(grads, reference, suffix, **where)


def layer_rows(
    grads: Vector,
    reference: Vector,
    name: str,
    segments: dict[str, slice],
    has_poles: bool = False,
) -> list[Row]:
    """Return error and cosine to the unrolled gradient for each layer of theta.

    Args:
        grads: meta-gradients of the method, `(T, Q)`.
        reference: meta-gradients of the unroll, `(T, Q)`.
        name: the method.
        segments: where each layer stands in theta.
        has_poles: as in `comparison_rows`.
    """
    rows = []
    for layer, part in segments.items() if len(segments) > 1 else ():
        a, b = grads[:, part], reference[:, part]
        line = quantile("error_unrolled", relative_error(a, b), of=name, layer=layer)
        where: dict[str, Any] = {"of": name, "layer": layer}
        means = _no_expectation if has_poles else partial(_expectation_rows, a, b)
        rows += [line, *means("_unrolled", **where)[:1]]
    return rows


def relative_error(grads: Vector, reference: Vector) -> Vector:
    """Return |grads - reference| / |reference| of each task, `(T,)`; 0 where both are equal."""
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):  # beyond floats: infinite
        gap = np.linalg.norm(grads - reference, axis=1)
        return np.where(gap == 0, 0.0, gap / np.linalg.norm(reference, axis=1))


def median_row(quantity: str, values: Vector, at: float, name: str) -> Row:
    """Return the median over tasks with its order-statistic interval.

    Args:
        quantity: name of the quantity.
        values: one a task, `(T,)`.
        at: K, or lambda.
        name: the method.
    """
    return quantile(quantity, values, at=float(at), of=name)


def error_parts(
    at_minimum: Vector,
    exact: Vector,
    double: Vector,
    single: Vector,
    K: int,
    name: str,
    implicit: bool,
) -> list[Row]:
    """Split a method's error by cause, each part relative to the gradient at the inner minimum.

    Inner convergence: the exact solve at phi_K minus the gradient at the minimum. Solver: float64
    minus the exact solve, the solver's error; for methods without a solver this part is called
    method. Arithmetic: float32 minus float64. The three vectors sum to the error.

    Args:
        at_minimum: meta-gradients at the inner minimum, `(T, Q)`, as all that follow.
        exact: implicit meta-gradients at phi_K by the exact solver, in float64.
        double: the method's, in float64.
        single: the method's, in float32.
        K: inner steps.
        name: the method.
        implicit: the method solves a linear system.
    """
    size = np.linalg.norm(at_minimum, axis=1)
    word = "solver" if implicit else "method"
    gaps = {
        "inner convergence": exact - at_minimum,
        word: double - exact,
        "arithmetic": single - double,
    }
    rows = []
    for part, gap in gaps.items():
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            share = np.linalg.norm(gap, axis=1) / size
        rows.append(quantile("error_part", share, at=float(K), of=f"{name}: {part}"))
    return rows


def minimum_rows(gradient_norm: Vector) -> list[Row]:
    """Return the median of |grad G| / |g| `(T,)` after the descent, and the share converged."""
    line = quantile("gradient_norm_at_minimum", gradient_norm)
    hits = int((gradient_norm <= CONVERGED_NORM).sum())
    return [line, row("minimum_found", share_interval(hits, len(gradient_norm)))]


def diverged_rows(grads: Vector, K: int, name: str) -> list[Row]:
    """Return the share of tasks whose meta-gradient is not finite; no row if all are.

    Args:
        grads: meta-gradients of the method, `(T, Q)`.
        K: inner steps.
        name: the method.
    """
    hits = int((~np.isfinite(grads).all(1)).sum())
    share = share_interval(hits, len(grads))
    return [row("diverged", share, "diverged", at=float(K), of=name)] if hits else []


def any_negative_curvature(notes: dict[str, Vector]) -> bool:
    """Return whether the solver met a direction of negative curvature in any task."""
    return bool((notes["curvature"] <= 0).any())


def curvature_rows(notes: dict[str, Vector], K: int) -> list[Row]:
    """Return the share of tasks where the solver met negative curvature at phi_K, and the least."""
    curvature = notes["curvature"]
    known = np.isfinite(curvature)
    if not known.any():
        return []
    hits = int((curvature[known] <= 0).sum())
    least = Row("least_curvature", at=float(K), value=float(curvature[known].min()))
    return [row("saddles", share_interval(hits, int(known.sum())), at=float(K)), least]


def residual_rows(notes: dict[str, Vector], K: int, name: str) -> list[Row]:
    """Return the median relative residual of the linear solve; no row for methods without one.

    Args:
        notes: of the method, among them perhaps "residual", `(T,)`.
        K: inner steps.
        name: the method.
    """
    return [median_row("residual", notes["residual"], K, name)] if "residual" in notes else []


def bfloat16_rows(half: dict[str, Vector], double: dict[str, Vector], K: int) -> list[Row]:
    """Return the relative error of bfloat16 to float64 for each method.

    Args:
        half: meta-gradients in bfloat16 by method, `(T, Q)` each.
        double: the same in float64.
        K: inner steps.
    """
    return [median_row("bfloat16_error", relative_error(half[n], double[n]), K, n) for n in half]


def _expectation_rows(grads: Vector, reference: Vector, suffix: str, **where: Any) -> list[Row]:
    """Return cosine and norm ratio of the two expectations, from U-statistics.

    Withheld where a tail index shows no second moment, or there are fewer than four tasks.
    """
    if max(np.abs(grads).max(initial=0), np.abs(reference).max(initial=0)) > LARGEST_ENTRY:
        return _no_expectation(suffix, "overflow", **where)
    if len(grads) < 4 or not (np.isfinite(grads).all() and np.isfinite(reference).all()):
        return _no_expectation(suffix, "withheld" if len(grads) < 4 else "diverged", **where)
    a, b, d = (
        Moments.from_samples(grads),
        Moments.from_samples(reference),
        Moments.from_samples(grads - reference),
    )
    if (
        tail_index.lowest_tail_index(a, b) < tail_index.MOMENTS
    ):  # as an inverse has whose Hessian may be singular
        return _no_expectation(suffix, **where)
    angle = row(f"cosine{suffix}", paired_estimators.cosine(a, b, d), **where)
    if angle.value is None:
        angle = angle._replace(status="unresolved")
    return [angle, _norm_ratio(a, b, f"norm_ratio{suffix}", **where)]


def _no_expectation(suffix: str, status: str = "withheld", **where: Any) -> list[Row]:
    return [Row(f"{name}{suffix}", status=status, **where) for name in ("cosine", "norm_ratio")]


def _norm_ratio(a: Moments, b: Moments, quantity: str, **where: Any) -> Row:
    """Return |E a| / |E b| with the interval of a jackknife of its logarithm."""
    (_, top), (_, bottom) = a.estimates(), b.estimates()
    if min(top.value, bottom.value, top.left_out.min(), bottom.left_out.min()) <= 0:
        return Row(quantity, status="unresolved", **where)
    value = math.sqrt(top.value / bottom.value)
    logs = np.log(top.left_out / bottom.left_out) / 2
    reach = intervals.t_quantile(a.n - 1) * intervals.jackknife_error(logs)
    if not reach < intervals.WIDEST_LOGARITHM:
        return Row(quantity, value=value, status="unresolved", **where)
    return row(
        quantity, Interval(value, value * math.exp(-reach), value * math.exp(reach)), **where
    )
