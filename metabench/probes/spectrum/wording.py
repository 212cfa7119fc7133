"""Numbers and places as sentences want them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from metabench.records import number_format
from metabench.records.rows import Row, from_table

if TYPE_CHECKING:
    import pandas as pd

PLACES = {
    "start": "where the inner loop starts",
    "adapted": "where it ends",
    "preconditioned": "where it ends, with the Hessian as the step scales it",
}


def number(row: Row) -> str:
    """Write a value with its interval, to three digits."""
    if row.value is None:
        return "unbounded"
    if row.low is None and row.high is None:
        return number_format.number(row.value)
    return f"{number_format.number(row.value)} {number_format.interval_text(row.low, row.high)}"


def rows_at(table: pd.DataFrame, quantity: str, place: str) -> dict[float, Row]:
    """Map each quantile over tasks to its row."""
    return {row.at: row for row in from_table(table, quantity, of=place) if row.at is not None}
