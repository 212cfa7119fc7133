"""Which rows count: numbers that are right, and sentences of kinds that are listed here."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from reports.what_runs.rows import Row

RIGHT = ("exact", "noise")
LEAST_WITH_NUMBERS = 36  # modules of which maml gives numbers in a batching


class Kind(NamedTuple):
    """A refusal that counts although plain autograd gives a number."""

    name: str
    words: str  # in its sentence
    why: str


LOOP = Kind(
    "no rule for vmap",
    "batching=loop",
    "torch can't compute many tasks of it at once; the row counts only if the loop that the "
    "sentence names gives the right number",
)
STATE = Kind(
    "state between calls",
    "between calls",
    "the module changes with every call, so that its meta-gradient depends on how often an "
    "algorithm calls it",
)


def kind_of(row: Row, rows: Sequence[Row]) -> str:
    """Return why a sentence counts, or "" if it doesn't.

    Args:
        row: whose outcome is a sentence.
        rows: all rows, where that of the loop is looked up.
    """
    if row.autograd and row.autograd != "right":
        return f"plain autograd {row.autograd if 'raises' in row.autograd else 'is wrong'}"
    if LOOP.words in row.said and _in_a_loop(row, rows) in RIGHT:
        return LOOP.name
    return STATE.name if STATE.words in row.said else ""


def failures(rows: Sequence[Row]) -> list[Row]:
    """Return the rows that are neither right numbers nor sentences that count."""
    return [
        row
        for row in rows
        if row.outcome not in (*RIGHT, "not installed")
        and not (row.outcome == "sentence" and kind_of(row, rows))
    ]


def without_numbers(rows: Sequence[Row]) -> list[str]:
    """Return the modules of which maml gives no right number, in neither batching."""
    of_maml = [row for row in rows if row.table == "modules" and row.algorithm == "maml"]
    right = {row.module for row in of_maml if row.outcome in RIGHT}
    return sorted({row.module for row in of_maml} - right)


def _in_a_loop(row: Row, rows: Sequence[Row]) -> str:
    same = row[:4]
    return next(
        (other.outcome for other in rows if other[:4] == same and other.batching == "loop"), ""
    )
