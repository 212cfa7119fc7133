"""Numbers, shares and intervals as findings print them."""

from __future__ import annotations

import math

from metabench.records import number_format
from metabench.records.rows import Row

UNKNOWN = "unknown"


def number(value: float | None) -> str:
    """Return a number as text, to three digits."""
    return UNKNOWN if value is None else number_format.number(value)


def percent(share: Row) -> str:
    """Return a share as text in percent."""
    return "An unknown share" if share.value is None else number_format.percent(share.value)


def interval(line: Row) -> str:
    """Return the interval of a row as text."""
    return number_format.interval_text(line.low, line.high, _missing(line))


def percents(share: Row) -> str:
    """Return a share with its interval as text in percent; a zero without interval stands alone.

    >>> percents(Row("share", value=0.5, low=0.4)), percents(Row("negative_mass", value=0.0))
    ('50 % [40, unbounded]', '0 %')
    """
    ends = share.low, share.high
    if share.value == 0 and ends == (None, None) and share.status != "unbounded":
        return percent(share)
    low, high = (None if end is None else 100 * end for end in (share.low, share.high))
    return f"{percent(share)} {number_format.interval_text(low, high, _missing(share))}"


def tasks_for_share(share: Row, limit: float) -> int:
    """Return a power of two of tasks, enough to show that a share that is zero lies below a limit.

    With no hit among n tasks, the exact 95 % interval ends at 1 - 0.025^(1 / n). With hits, four
    times as many halve the distance that can be told.

    >>> tasks_for_share(Row("past_edge", value=0.0), 0.05)
    128
    """
    needed = math.log(0.025) / math.log1p(-limit)
    return 1 << math.ceil(math.log2(needed if not share.value else 4 * needed))


def error(line: Row) -> str:
    """Return a mean squared error as text; its estimate may lie below 0, where no error does.

    >>> error(Row("mse", value=2.0, low=1.5, high=3.0)), error(Row("mse", value=-1.0, high=9.0))
    ('2 [1.5, 3]', 'at most 9 (a lower limit is not resolved)')
    """
    if line.high is None:
        return f"{number(max(line.value or 0.0, 0.0))} (no interval)"
    if min(line.value or 0.0, line.low or 0.0) <= 0:
        return f"at most {number(line.high)} (a lower limit is not resolved)"
    return f"{number(line.value)} {interval(line)}"


def _missing(line: Row) -> str:
    """Return the text of a missing end: none of both means that no interval was computed."""
    return UNKNOWN if (line.low, line.high) == (None, None) else "unbounded"
