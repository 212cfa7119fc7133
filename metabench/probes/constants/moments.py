"""The variances of the theory, both moment bounds beside what they bound, and the floor."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from metabench.records.rows import Row, row
from metabench.stats.intervals import Estimate, Interval, Vector
from metabench.stats.mean_intervals import squared_norm_interval
from metabench.stats.moments import Moments
from metabench.stats.noise_scale import ratio_interval

LARGE = 1e150  # entries whose squares overflow count as diverged
FEWEST = 3  # tasks from which a spread over tasks has an error


class Numbers(NamedTuple):
    """What T tasks gave at one inner rate, in float64; NaN for a variance without redraws."""

    gradient: Vector  # of the expected inner loss at theta, (T, P)
    within: Vector  # variance of one support set's gradient there, (T,)
    along: Vector  # what of that lies along the task's own gradient, (T,)
    of_query: Vector  # variance of one query set's gradient after the step, (T,)
    loss: Vector  # outer loss after the step, (T,)
    whole: Vector  # meta-gradient of the expected losses, (T, P)
    single: Vector  # with one independent set each for step, Hessian and query, (T, P)

    @property
    def finite(self) -> bool:
        """Whether every number that is drawn is, and its square."""
        parts = self.gradient, self.whole, self.single
        return all(bool((np.abs(part) < LARGE).all()) for part in parts)


def sizes(found: Numbers, sets: int) -> Vector:
    """Give |grad f_i| of each task, without what noise across it adds, `(T,)`.

    Noise along a gradient leaves its mean length alone, to second order.
    """
    square = (found.gradient**2).sum(1)
    if sets > 1:
        square = np.maximum(square - (found.within - found.along) / sets, 0.0)
    each: Vector = np.sqrt(square)
    return each


def spread(found: Numbers, sets: int) -> Estimate:
    """Give sigma^2 = E |grad f - grad f_i|^2, without what a few sets leave in each."""
    moments = Moments.from_samples(found.gradient)
    return moments.estimates()[0] + Estimate.mean(found.within).scaled(-1 / sets)


def variances(found: Numbers, sets: int, examples: int) -> list[Row]:
    """Give sigma^2, sigma~^2 and the sizes of the gradients of f and f_i at theta."""
    names = ("tasks", "one support set", "an example")
    if len(found.loss) < FEWEST:
        return [Row("gradient_variance", of=of, status="unresolved") for of in names]
    if not found.finite:
        return [Row("gradient_variance", of=of, status="diverged") for of in names]
    size = Estimate.mean(sizes(found, sets)).interval()
    rows = [row("gradient_size", size._replace(low=max(size.low, 0.0)), of="one task")]
    if sets == 1:
        return [*rows, *(Row("gradient_variance", of=of, status="not_redrawable") for of in names)]
    within = Estimate.mean(found.within)
    each = (spread(found, sets), within, within.scaled(examples))
    return rows + [
        _positive("gradient_variance", estimate, of)
        for of, estimate in zip(names, each, strict=True)
    ]


def held(rate: float, found: Numbers, sets: int, covered: bool) -> list[Row]:
    """Give both moments at an inner rate, and their bounds where the lemma covers it."""
    names = ("first_moment", "second_moment")
    if sets == 1 or len(found.loss) < FEWEST or not found.finite:
        status = "diverged" if not found.finite else "not_redrawable" if sets == 1 else "unresolved"
        return [Row(name, at=rate, of="measured", status=status) for name in names]
    true, drawn = Moments.from_samples(found.whole), Moments.from_samples(found.single)
    second = Estimate.mean((found.single**2).sum(1))
    rows = [
        _norm("meta_gradient_squared", found.whole, rate, ""),
        row(
            "gradient_variance", Estimate.mean(found.of_query).skewed(), at=rate, of="one query set"
        ),
        _norm("first_moment", found.single, rate, "measured"),
        _positive("second_moment", second, "measured", rate),
    ]
    if not covered:
        return rows + [Row(name, at=rate, of="bound", status="withheld") for name in names]
    first = true.estimates()[1].scaled(2) + Estimate.mean(found.within).scaled(0.08)
    bound = (
        true.estimates()[1].scaled(40)
        + spread(found, sets).scaled(14)
        + Estimate.mean(found.of_query).scaled(2)
        + Estimate.mean(found.within).scaled(1 / 6)
    )
    rows += [
        row("first_moment", _bracket(found.whole, found.within), at=rate, of="bound"),
        _positive("second_moment", bound, "bound", rate),
    ]
    if drawn.mean_squared == 0 and not drawn.deviations.any():
        return [
            *rows,
            *(Row("slack", at=rate, of=_said(name), status="degenerate") for name in names),
        ]
    slacks = _slack(first, drawn), bound.share(second).logarithmic()
    return rows + [
        row("slack", slack, at=rate, of=_said(name))
        for name, slack in zip(names, slacks, strict=True)
    ]


def _slack(first: Estimate, drawn: Moments) -> Interval:
    """Bracket the first bound over |E G|^2 by the wider of Fieller's and the jackknife's limits.

    The two norms come from the same tasks, and Fieller's limits alone covered 91 %.
    """
    found, below = ratio_interval(first, drawn), drawn.estimates()[1]
    if not (below.value > 0 and below.left_out.min() > 0):
        return found
    other = first.share(below).logarithmic()
    if not math.isfinite(other.low):
        return found
    return found.widened(other.low, other.high)


def floor(found: Numbers, sets: int, batch: int) -> list[Row]:
    """Give the order below which |grad F|^2 doesn't fall at B tasks, and what makes it."""
    if sets == 1 or len(found.loss) < FEWEST or not found.finite:
        return []
    within, query = Estimate.mean(found.within), Estimate.mean(found.of_query)
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


def _said(name: str) -> str:
    return name.replace("_", " ")


def _positive(quantity: str, estimate: Estimate, of: str, at: float | None = None) -> Row:
    """Make a row of what can't be below zero; of nothing at all, without an interval."""
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


def _bracket(true: Vector, within: Vector) -> Interval:
    """Bracket 2 |grad F|^2 + 0.08 V by the interval of its first part and both errors."""
    norm, noise = squared_norm_interval(true), Estimate.mean(0.08 * within).interval()
    value = 2 * norm.value + noise.value
    below = math.hypot(2 * (norm.value - norm.low), noise.value - noise.low)
    above = math.hypot(2 * (norm.high - norm.value), noise.high - noise.value)
    return Interval(value, max(value - below, 0.0), value + above)
