"""Estimates over seeds, and the best of several conditions."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from metabench.records.number_format import interval_text, number
from metabench.records.rows import Row, rows_from_tuples
from metabench.report.text_tables import REASONS

if TYPE_CHECKING:
    import pandas as pd

NORMAL_QUANTILE = 1.96  # half width of a 95 % interval in standard errors
FEWEST_SEEDS = 4  # below them the points are shown, without an interval
RATIOS = {"noise_scale": ("task_variance", "mean_norm_squared")}  # quantity -> top and bottom
NO_MEAN = ("snr", "share")  # ratios whose parts are not recorded for each row
NONNEGATIVE = frozenset((
    "variance", "task_variance", "mean_norm_squared", "component", "mse", "seconds", "bias",
    "noise_scale", "amplification", "amplification_by_step", "norm", "diverged", "past_edge",
    "negative_mass", "effective_rank", "stable_rate", "stable_outer_rate", "break_even", "check",
    "gradient_norm_at_minimum", "float32_error",
))  # fmt: skip
POOLED = ("ok", "unbounded", "unresolved")  # statuses of a ratio whose parts are averaged

Parts = tuple[Row, Row]  # top and bottom of a ratio


class Estimate(NamedTuple):
    """A number over the seeds of one condition, with the reasons of seeds without one."""

    value: float | None = None
    low: float | None = None
    high: float | None = None
    seeds: int = 0  # number of seeds with a number
    lacking: tuple[str, ...] = ()  # status of each seed without a number
    points: tuple[float, ...] = ()  # of each seed, where they are too few for an interval
    median: bool = False  # the value is a median, since no mean is given

    def __str__(self) -> str:
        """Write the number, its interval, and how many seeds lack one."""
        left = len(self.lacking)
        why = " or ".join(dict.fromkeys(REASONS.get(s, s) for s in self.lacking))
        if self.seeds == 0:
            return why
        text = "unbounded" if self.value is None else number(self.value)
        if self.points:
            text = ", ".join(map(number, self.points))
        elif self.median:
            text = f"median {text} of {self.seeds} seeds"
        elif self.low is not None or self.high is not None:
            text += f" {interval_text(self.low, self.high)}"
        return text + (f" ({left} of {left + self.seeds} seeds {why})" if left else "")


def combined(rows: Sequence[Row | str], parts: Sequence[Parts | None] = ()) -> Estimate:
    """Combine the seeds of one condition; a text is the reason of a seed without a row.

    One seed keeps the probe's number and interval. Two or three are listed. From four on, raw
    values are averaged, with the interval of Student's t in which the variance is at least that
    which the seeds' own intervals imply (Hartung-Knapp, as a factor of at least 1). A ratio is
    that of the averages of its parts, with Fieller's interval. No mean is given where a seed is
    diverged or unbounded, or for a ratio without parts: the median is.

    Args:
        rows: the row of each seed, or the reason why it has none.
        parts: top and bottom of each seed's ratio, in the order of `rows`; empty if it is none.

    >>> str(combined([Row("v", value=1.0), Row("v", value=3.0), "error"]))
    '1, 3 (1 of 3 seeds error)'
    >>> str(combined([Row("v", value=float(i)) for i in (1, 2, 3, 4)]))
    '2.5 [0.446, 4.55]'
    """
    there = [r for r in rows if isinstance(r, Row) and r.value is not None]
    if len(rows) == 1 == len(there):
        return Estimate(*there[0][4:7], 1)
    pooled = _pooled_ratio(rows, parts) if parts else None
    return pooled or _over_seeds(there, _lacking(rows, there))


def _lacking(rows: Sequence[Row | str], used: Sequence[Row]) -> tuple[str, ...]:
    """Return the reason of each seed that is not used."""
    return tuple(r.status if isinstance(r, Row) else r for r in rows if r not in used)


def _over_seeds(rows: Sequence[Row], lacking: tuple[str, ...]) -> Estimate:
    """Return the points, the median, or the mean with its interval, of rows that have a number."""
    values = [r.value for r in rows if r.value is not None]
    if not values:
        return Estimate(lacking=lacking)
    found = Estimate(statistics.median(values), seeds=len(values), lacking=lacking)
    if len(values) < FEWEST_SEEDS:
        return found._replace(points=tuple(values))
    if _has_no_mean(rows, lacking):
        return found._replace(median=True)
    mean, half = (
        statistics.fmean(values),
        _t_quantile(len(values)) * math.sqrt(_variance_of_mean(rows)),
    )
    if half == 0:  # equal numbers without intervals of their own: how exact is unknown
        return found._replace(value=mean)
    found = found._replace(value=mean, low=mean - half, high=mean + half)
    return _cut_off(found) if rows[0].quantity in NONNEGATIVE else found


def _has_no_mean(rows: Sequence[Row], lacking: Sequence[str]) -> bool:
    """Return whether a seed has no end or diverged, or the quantity is a ratio without parts."""
    statuses = {*lacking, *(r.status for r in rows)}
    return bool(statuses & {"unbounded", "diverged"}) or rows[0].quantity in (*NO_MEAN, *RATIOS)


def ratio_parts(rows: pd.DataFrame, quantity: str) -> dict[int, Parts]:
    """Return the rows of top and bottom of a ratio, by cell; empty if the quantity is none.

    Args:
        rows: rows of cells, with their `cell`.
        quantity: of the ratio, of all parameters.
    """
    if quantity not in RATIOS:
        return {}
    whole = rows[rows["at"].isna() & (rows["layer"] == "") & (rows["of"] == "")]
    found = []
    for name in RATIOS[quantity]:
        part = whole[(whole["quantity"] == name) & whole["value"].notna()]
        made = rows_from_tuples(part[list(Row._fields)].itertuples(index=False))
        found.append(dict(zip(part["cell"], made, strict=True)))
    return {cell: (found[0][cell], found[1][cell]) for cell in found[0] if cell in found[1]}


def _variance_of_mean(rows: Sequence[Row]) -> float:
    """Return the variance of a mean over seeds, at least what the seeds' own intervals imply."""
    values = [r.value for r in rows if r.value is not None]
    own = [
        ((r.high - r.low) / (2 * NORMAL_QUANTILE)) ** 2
        for r in rows
        if r.low is not None and r.high is not None
    ]
    within = statistics.fmean(own) if own else 0.0
    return max(statistics.variance(values), within) / len(values)


def _t_quantile(seeds: int) -> float:
    from scipy.special import stdtrit

    return float(stdtrit(seeds - 1, 0.975))


def _cut_off(found: Estimate) -> Estimate:
    """Cut the numbers of a quantity that can't be negative off at 0."""
    value, low, high = (max(x, 0.0) if x is not None else None for x in found[:3])
    if high == 0:  # an interval without width would say that 0 is exact
        low = high = None
    return found._replace(value=value, low=low, high=high)


def _pooled_ratio(rows: Sequence[Row | str], parts: Sequence[Parts | None]) -> Estimate | None:
    """Return the ratio of averages over seeds, None if too few seeds have both parts."""
    used = {
        i: pair
        for i, (row, pair) in enumerate(zip(rows, parts, strict=True))
        if isinstance(row, Row) and row.status in POOLED and pair is not None
    }
    lacking = _lacking([row for i, row in enumerate(rows) if i not in used], ())
    if len(used) < FEWEST_SEEDS or "diverged" in lacking:
        return None
    tops, bottoms = ([pair[k] for pair in used.values()] for k in (0, 1))
    value, low, high = fieller(tops, bottoms)
    return Estimate(value, low, high, len(used), lacking)


def fieller(
    tops: Sequence[Row], bottoms: Sequence[Row]
) -> tuple[float | None, float | None, float | None]:
    """Return the ratio, 0 or more, of two averages over seeds, and its 95 % interval.

    The interval contains each ratio x for which Student's t does not reject that the mean of
    top - x bottom is 0 (Fieller, 1954). An end that is None is unbounded.

    >>> rows = [Row("v", value=float(i)) for i in (1, 2, 3, 4)]
    >>> [round(x, 3) for x in fieller(rows, [Row("v", value=2.0)] * 4)]
    [1.25, 0.223, 2.277]
    """
    above, below = ([r.value for r in of if r.value is not None] for of in (tops, bottoms))
    top, bottom, n = statistics.fmean(above), statistics.fmean(below), len(above)
    t2 = _t_quantile(n) ** 2
    a = bottom**2 - t2 * _variance_of_mean(bottoms)
    b = top * bottom - t2 * statistics.covariance(above, below) / n
    c = top**2 - t2 * _variance_of_mean(tops)
    value = max(top / bottom, 0.0) if bottom > 0 else None
    root = math.sqrt(max(b * b - a * c, 0.0))
    if a > 0:
        low, high = max((b - root) / a, 0.0), max((b + root) / a, 0.0)
        return (value, low, high) if high > low else (value, None, None)
    return value, c / (b + root) if c > 0 and b + root > 0 else 0.0, None


def best(column: Sequence[Estimate], end: str) -> int | None:
    """Return the index of the estimate whose interval is better than all others without overlap.

    Diverged conditions are ignored; if another one is unknown, none is best.
    """
    candidates = {i: e for i, e in enumerate(column) if set(e.lacking) != {"diverged"} or e.seeds}
    if end not in ("low", "high") or len(candidates) < 2:
        return None
    spans = {i: span for i, e in candidates.items() if (span := _span(e, end))}
    if len(spans) < len(candidates):
        return None
    first = min(spans, key=lambda i: spans[i].worst)
    separate = all(spans[first].worst < span.best for i, span in spans.items() if i != first)
    return first if separate and not column[first].lacking else None


class _Span(NamedTuple):
    """An interval on an axis where lower is better."""

    best: float
    worst: float


def _span(estimate: Estimate, end: str) -> _Span | None:
    """Orient an interval so that lower is better; None if an end is missing."""
    low, high = estimate.low, estimate.high
    if low is None or high is None:
        return None
    return _Span(low, high) if end == "low" else _Span(-high, -low)
