"""Numbers, shares and intervals as findings print them."""

from __future__ import annotations

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


def _missing(line: Row) -> str:
    """Return the text of a missing end: none of both means that no interval was computed."""
    return UNKNOWN if (line.low, line.high) == (None, None) else "unbounded"
