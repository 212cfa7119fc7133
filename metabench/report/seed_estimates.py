"""Estimates over seeds, and the best of several conditions."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import NamedTuple

from scipy.special import stdtrit

from metabench.records.number_format import interval_text, number
from metabench.records.rows import Row
from metabench.report.text_tables import REASONS


class Estimate(NamedTuple):
    """A number over the seeds of one condition, with the reasons of seeds without one."""

    value: float | None = None
    low: float | None = None
    high: float | None = None
    seeds: int = 0  # number of seeds with a number
    lacking: tuple[str, ...] = ()  # status of each seed without a number

    def __str__(self) -> str:
        """Write the number, its interval, and how many seeds lack one."""
        left = len(self.lacking)
        why = " or ".join(dict.fromkeys(REASONS.get(s, s) for s in self.lacking))
        if self.value is None:
            return why
        text = number(self.value)
        if self.low is not None or self.high is not None:
            text += f" {interval_text(self.low, self.high)}"
        return text + (f" ({left} of {left + self.seeds} seeds {why})" if left else "")


def combined(rows: Sequence[Row | str]) -> Estimate:
    """Combine the seeds of one condition; a text is the reason of a seed without a row.

    >>> str(combined([Row("v", value=1.0), Row("v", value=3.0), "error"]))
    '2 [-10.7, 14.7] (1 of 3 seeds error)'
    """
    there = [r for r in rows if isinstance(r, Row) and r.value is not None]
    lacking = tuple(r.status if isinstance(r, Row) else r for r in rows if r not in there)
    if len(there) == 1:
        return Estimate(there[0].value, there[0].low, there[0].high, 1, lacking)
    if not there:
        return Estimate(lacking=lacking)
    values = [r.value for r in there if r.value is not None]
    mean, spread = statistics.fmean(values), statistics.stdev(values)
    half = float(stdtrit(len(values) - 1, 0.975)) * spread / len(values) ** 0.5
    return Estimate(mean, mean - half, mean + half, len(values), lacking)


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
