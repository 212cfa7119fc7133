"""Phrases for numbers and places in the spectrum's findings."""

from __future__ import annotations

from typing import TYPE_CHECKING

from metabench.records import number_format
from metabench.records.rows import Row, from_table

if TYPE_CHECKING:
    import pandas as pd

PLACES = {
    "start": "at the start of the inner loop",
    "adapted": "at the end of the inner loop",
    "preconditioned": (
        "at the end of the inner loop, for the Hessian as scaled by the optimizer's step"
    ),
}
HESSIANS = {"mean": "expected inner Hessian", "meta": "meta-Hessian"}


def number(row: Row) -> str:
    """Return a value with its interval, to three digits."""
    if row.value is None:
        return "unbounded"
    if row.low is None and row.high is None:
        return number_format.number(row.value)
    return f"{number_format.number(row.value)} {number_format.interval_text(row.low, row.high)}"


def rows_at(table: pd.DataFrame, quantity: str, place: str) -> dict[float, Row]:
    """Return the rows of a quantity, by quantile over tasks.

    Args:
        table: a measured table.
        quantity: such as "largest_eigenvalue".
        place: "start", "adapted", "preconditioned" or another value of `of`.
    """
    return {row.at: row for row in from_table(table, quantity, of=place) if row.at is not None}
