"""Rows of the theory's variances, of both moments with their bounds, and of the floor."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from metabench.records.rows import Row, row
from metabench.stats.intervals import Estimate, Interval, Vector
from metabench.stats.mean_intervals import squared_norm_interval
from metabench.stats.moments import Moments
from metabench.stats.noise_scale import ratio_interval

LARGEST_ENTRY = 1e150  # larger ones count as diverged: their squares overflow
FEWEST_TASKS = 3  # from which a variance over tasks has an error


class InnerStepEstimates(NamedTuple):
    """`SetEstimates` of T tasks at one inner rate as arrays; variances are NaN without redraws."""

    gradient: Vector  # of the expected inner loss at theta, (T, P)
    support_variance: Vector  # of one support set's gradient there, (T,)
    support_variance_along: Vector  # the part of it along the task's mean gradient, (T,)
    query_variance: Vector  # of one query set's gradient after the step, (T,)
    loss: Vector  # outer loss after the step, (T,)
    meta_gradient: Vector  # of the expected losses, (T, P)
    single_set_meta_gradient: Vector  # independent sets for step, Hessian and query, (T, P)

    @property
    def finite(self) -> bool:
        """Whether all gradients and their squares are finite."""
        parts = self.gradient, self.meta_gradient, self.single_set_meta_gradient
        return all(bool((np.abs(part) < LARGEST_ENTRY).all()) for part in parts)


def sizes(found: InnerStepEstimates, sets: int) -> Vector:
    """Return |grad f_i| of each task `(T,)`, corrected for the noise orthogonal to it.

    Noise along a gradient doesn't change its mean norm, to second order.
    """
    square = (found.gradient**2).sum(1)
    if sets > 1:
        square = np.maximum(
            square - (found.support_variance - found.support_variance_along) / sets, 0.0
        )
    each: Vector = np.sqrt(square)
    return each


def spread(found: InnerStepEstimates, sets: int) -> Estimate:
    """Return sigma^2 = E |grad f - grad f_i|^2, corrected for the noise of a few sets."""
    moments = Moments.from_samples(found.gradient)
    return moments.estimates()[0] + Estimate.mean(found.support_variance).scaled(-1 / sets)


def variances(found: InnerStepEstimates, sets: int, examples: int) -> list[Row]:
    """Return rows of sigma^2, sigma~^2 and E |grad f_i| at theta.

    Args:
        found: estimates at any inner rate.
        sets: support sets of each task.
        examples: of a support set.
    """
    names = ("tasks", "one support set", "an example")
    if len(found.loss) < FEWEST_TASKS:
        return [Row("gradient_variance", of=of, status="unresolved") for of in names]
    if not found.finite:
        return [Row("gradient_variance", of=of, status="diverged") for of in names]
    size = Estimate.mean(sizes(found, sets)).interval()
    rows = [row("gradient_size", size._replace(low=max(size.low, 0.0)), of="one task")]
    if sets == 1:
        return [*rows, *(Row("gradient_variance", of=of, status="not_redrawable") for of in names)]
    within = Estimate.mean(found.support_variance)
    each = (spread(found, sets), within, within.scaled(examples))
    return rows + [
        _positive("gradient_variance", estimate, of)
        for of, estimate in zip(names, each, strict=True)
    ]


def moment_bounds(rate: float, found: InnerStepEstimates, sets: int, covered: bool) -> list[Row]:
    """Return rows of both moments at an inner rate, with their bounds where the theory covers it.

    Args:
        rate: the inner rate.
        found: estimates at this rate.
        sets: support sets of each task.
        covered: whether alpha L <= 1/6.
    """
    names = ("first_moment", "second_moment")
    if sets == 1 or len(found.loss) < FEWEST_TASKS or not found.finite:
        status = "diverged" if not found.finite else "not_redrawable" if sets == 1 else "unresolved"
        return [Row(name, at=rate, of="measured", status=status) for name in names]
    true, single = (
        Moments.from_samples(found.meta_gradient),
        Moments.from_samples(found.single_set_meta_gradient),
    )
    second = Estimate.mean((found.single_set_meta_gradient**2).sum(1))
    rows = [
        _norm("meta_gradient_squared", found.meta_gradient, rate, ""),
        row(
            "gradient_variance",
            Estimate.mean(found.query_variance).skewed(),
            at=rate,
            of="one query set",
        ),
        _norm("first_moment", found.single_set_meta_gradient, rate, "measured"),
        _positive("second_moment", second, "measured", rate),
    ]
    if not covered:
        return rows + [Row(name, at=rate, of="bound", status="withheld") for name in names]
    first = true.estimates()[1].scaled(2) + Estimate.mean(found.support_variance).scaled(0.08)
    bound = (
        true.estimates()[1].scaled(40)
        + spread(found, sets).scaled(14)
        + Estimate.mean(found.query_variance).scaled(2)
        + Estimate.mean(found.support_variance).scaled(1 / 6)
    )
    rows += [
        row(
            "first_moment",
            _first_bound(found.meta_gradient, found.support_variance),
            at=rate,
            of="bound",
        ),
        _positive("second_moment", bound, "bound", rate),
    ]
    if single.mean_squared == 0 and not single.deviations.any():
        return [
            *rows,
            *(Row("slack", at=rate, of=_with_spaces(name), status="degenerate") for name in names),
        ]
    slacks = _first_slack(first, single), bound.share(second).logarithmic()
    return rows + [
        row("slack", slack, at=rate, of=_with_spaces(name))
        for name, slack in zip(names, slacks, strict=True)
    ]


def _first_slack(first: Estimate, single: Moments) -> Interval:
    """Return the first bound over |E G|^2, with the wider of Fieller's and the jackknife's limits.

    Both norms come from the same tasks; Fieller's limits alone covered 91 %.
    """
    found, below = ratio_interval(first, single), single.estimates()[1]
    if not (below.value > 0 and below.left_out.min() > 0):
        return found
    other = first.share(below).logarithmic()
    if not math.isfinite(other.low):
        return found
    return found.widened(other.low, other.high)


def floor(found: InnerStepEstimates, sets: int, batch: int) -> list[Row]:
    """Return rows of the floor of |grad F|^2 at B tasks, up to constants, and of its three parts.

    Args:
        found: estimates at the inner rate.
        sets: support sets of each task.
        batch: B.
    """
    if sets == 1 or len(found.loss) < FEWEST_TASKS or not found.finite:
        return []
    within, query = Estimate.mean(found.support_variance), Estimate.mean(found.query_variance)
    parts = {
        "tasks": spread(found, sets).scaled(1 / batch),
        "query sets": query.scaled(1 / batch),
        "support sets": within,
    }
    total = parts["tasks"] + parts["query sets"] + within
    rows = [_positive("floor", part, of) for of, part in parts.items()]
    rows += [Row("batch", value=float(batch)), _positive("floor", total, "")]
    if total.value > 0 and within.value > 0:
        rows.append(row("support_share", within.share(total).interval()))
    return rows


def _with_spaces(name: str) -> str:
    return name.replace("_", " ")


def _positive(quantity: str, estimate: Estimate, of: str, at: float | None = None) -> Row:
    """Return the row of a quantity that is never negative; an exact zero has no interval."""
    if estimate.value == 0 and not estimate.left_out.any():
        return Row(quantity, at=at, of=of, value=0.0, status="zero")
    found = estimate.skewed()
    return row(quantity, found._replace(low=max(found.low, 0.0)), at=at, of=of)


def _norm(quantity: str, sample: Vector, rate: float, of: str) -> Row:
    if not sample.any():
        return Row(quantity, at=rate, of=of, value=0.0, status="zero")
    interval = squared_norm_interval(sample)
    status = "ok" if interval.low > 0 else "unresolved"
    return row(quantity, interval, status, at=rate, of=of)


def _first_bound(true: Vector, support_variance: Vector) -> Interval:
    """Return 2 |grad F|^2 + 0.08 V, with the errors of both parts combined in its interval."""
    norm, noise = squared_norm_interval(true), Estimate.mean(0.08 * support_variance).interval()
    value = 2 * norm.value + noise.value
    below = math.hypot(2 * (norm.value - norm.low), noise.value - noise.low)
    above = math.hypot(2 * (norm.high - norm.value), noise.high - noise.value)
    return Interval(value, max(value - below, 0.0), value + above)
