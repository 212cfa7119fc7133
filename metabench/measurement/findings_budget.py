"""Findings on what a time budget left out."""

from __future__ import annotations

from typing import TYPE_CHECKING

from metabench.records.number_format import number
from metabench.records.rows import Finding, Row, from_table

if TYPE_CHECKING:
    import pandas as pd

MORE = "Give more time (--budget), or fewer tasks or cheaper settings."


def unfinished(table: pd.DataFrame) -> list[Finding]:
    """Return the findings on a probe without numbers, and on settings that were reduced."""
    return [
        *(_nothing(row) for row in from_table(table, "not_measured", of=None)),
        *(_reduced(row) for row in from_table(table, "left_out", of=None)),
    ]


def _nothing(row: Row) -> Finding:
    """Return the warning that a probe measured nothing."""
    why = (
        "not one task's meta-gradient was computed in that time"
        if row.at is None
        else f"one task's meta-gradient takes {number(row.at)} s"
    )
    claim = f"{row.of} measured nothing within its budget of {number(row.value or 0)} s: {why}."
    return Finding("budget", "warning", "not_looked_at", claim, MORE, (row,))


def _reduced(row: Row) -> Finding:
    """Return the remark that names reduced settings."""
    claim = (
        f"The budget of {number(row.value or 0)} s did not suffice for what was asked. Measured "
        f"with: {row.of}. The rest was not looked at."
    )
    return Finding("budget", "info", "not_looked_at", claim, MORE, (row,))
