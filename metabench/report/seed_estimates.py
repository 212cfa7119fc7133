"""What do the seeds of one condition say together, and which condition is best?"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import NamedTuple

from scipy.special import stdtrit

from metabench.records.number_format import interval_text, number
from metabench.records.rows import Row
from metabench.report.text_tables import REASONS


class Estimate(NamedTuple):
    """A number over the seeds of one condition; what isn't there has a reason."""

    value: float | None = None
    low: float | None = None
    high: float | None = None
    seeds: int = 0  # seeds with a number
    lacking: tuple[str, ...] = ()  # the status of each seed without

    def __str__(self) -> str:
        """Write the number, its interval, and how many seeds have none."""
        left = len(self.lacking)
        why = " or ".join(dict.fromkeys(REASONS.get(s, s) for s in self.lacking))
        if self.value is None:
            return why
        text = number(self.value)
        if self.low is not None or self.high is not None:
            text += f" {interval_text(self.low, self.high)}"
        return text + (f" ({left} of {left + self.seeds} seeds {why})" if left else "")


def combined(rows: Sequence[Row | str]) -> Estimate:
    """Join the seeds of one condition; a text stands for a seed without the row, and says why.

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
    """Find the estimate whose interval lies apart from all others', on the better side.

    What has diverged is no rival; what is unknown for another reason may be better.
    """
    rivals = {i: e for i, e in enumerate(column) if set(e.lacking) != {"diverged"} or e.seeds}
    if end not in ("low", "high") or len(rivals) < 2:
        return None
    spans = {i: span for i, e in rivals.items() if (span := _span(e, end))}
    if len(spans) < len(rivals):
        return None
    first = min(spans, key=lambda i: spans[i].worst)
    apart = all(spans[first].worst < span.best for i, span in spans.items() if i != first)
    return first if apart and not column[first].lacking else None


class _Span(NamedTuple):
    """An interval on an axis where less is better."""

    best: float
    worst: float


def _span(estimate: Estimate, end: str) -> _Span | None:
    """Lay out an interval by the better end; None where an end is missing."""
    low, high = estimate.low, estimate.high
    if low is None or high is None:
        return None
    return _Span(low, high) if end == "low" else _Span(-high, -low)
