"""Numbers as sentences want them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from metabench.records.rows import Row, from_table

if TYPE_CHECKING:
    import pandas as pd


def number(row: Row) -> str:
    """Write a value with its interval, to three digits."""
    if row.value is None:
        return "unbounded"
    if row.low is None and row.high is None:
        return f"{row.value:.3g}"
    ends = ("unbounded" if end is None else f"{end:.3g}" for end in (row.low, row.high))
    return f"{row.value:.3g} [{', '.join(ends)}]"


def percents(share: Row) -> str:
    """Write a share with its interval, in percent."""
    ends = f" [{100 * (share.low or 0):.3g}, {100 * (share.high or 0):.3g}]"
    return f"{100 * (share.value or 0):.3g} %{ends}"


def rows_at(table: pd.DataFrame, quantity: str, place: str) -> dict[float, Row]:
    """Map each quantile over tasks to its row."""
    return {row.at: row for row in from_table(table, quantity, of=place) if row.at is not None}
