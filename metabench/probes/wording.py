"""Numbers as sentences want them."""

from __future__ import annotations

from metabench.records.rows import Row


def number(value: float | None) -> str:
    """Write a number to three digits."""
    return "unknown" if value is None else f"{value:.3g}"


def percent(share: Row) -> str:
    """Write a share in percent."""
    return "An unknown share" if share.value is None else f"{100 * share.value:.3g} %"


def interval(line: Row) -> str:
    """Write the two ends."""
    return f"[{number(line.low)}, {number(line.high)}]"


def percents(share: Row) -> str:
    """Write a share with its interval, in percent."""
    ends = (None if end is None else 100 * end for end in (share.low, share.high))
    return f"{percent(share)} [{', '.join(map(number, ends))}]"
