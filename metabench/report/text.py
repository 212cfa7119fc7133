"""Rows as people read them: one line for each `at`, one for each number without."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from metabench.rows import Row, from_table

if TYPE_CHECKING:
    import pandas as pd


SAID = ("changed", "unavailable", "fused_norm")  # facts that findings speak of, no numbers


class TextTable(NamedTuple):
    """A header and equally long lines of ready-made text."""

    header: tuple[str, ...]
    lines: tuple[tuple[str, ...], ...]


def by_axis(table: pd.DataFrame, axis: str) -> TextTable:
    """Lay out the quantities measured at several places of the axis, a place a line."""
    part = table[table["at"].notna()]
    # A quantity that is fine everywhere and says so only by being zero would be a column of noise.
    quantities = [
        name
        for name in dict.fromkeys(part["quantity"])
        if name != "diverged" or (part.loc[part["quantity"] == name, "status"] != "ok").any()
    ]
    rows = {(r.quantity, r.at): r for name in quantities for r in from_table(part, name)}
    places = sorted(set(part["at"]))
    lines = [(number(at), *(cell(rows.get((name, at))) for name in quantities)) for at in places]
    return TextTable((axis, *map(words, quantities)), tuple(lines))


def overall(table: pd.DataFrame) -> TextTable:
    """Lay out the quantities that stand for the whole, one a line."""
    part = table[table["at"].isna()]
    names = dict.fromkeys(part["quantity"])
    part = part[~part["quantity"].isin(SAID)]
    lines = [(label(r), cell(r)) for name in names for r in from_table(part, name)]
    return TextTable(("quantity", "value with 95 % interval"), tuple(lines))


def label(row: Row) -> str:
    """Name what a row measured, and of what.

    >>> label(Row("check", of="Hessian symmetry"))
    'check: Hessian symmetry'
    """
    return words(row.quantity) + (f": {row.of}" if row.of else "")


def cell(row: Row | None) -> str:
    """Write one measured number with its interval, or the reason why there is none.

    >>> cell(Row("noise_scale", value=40.0, low=21.0, status="unbounded"))
    '40 [21, unbounded]'
    >>> cell(Row("noise_scale", status="withheld"))
    'withheld'
    """
    if row is None:
        return ""
    if row.value is None and row.low is None:
        return row.status
    text = "unbounded" if row.value is None else number(row.value)
    if row.low is not None or row.high is not None:
        ends = (number(end) if end is not None else "unbounded" for end in (row.low, row.high))
        text += f" [{', '.join(ends)}]"
    said = row.status in ("ok", "unbounded", row.quantity)
    return text if said else f"{text} ({row.status})"


def number(value: float) -> str:
    """Write a number to three digits, whole numbers in full.

    >>> number(4096.0), number(0.012345), number(5.6149)
    ('4096', '0.0123', '5.61')
    """
    return f"{value:.0f}" if value == int(value) and abs(value) < 1e6 else f"{value:.3g}"


def words(name: str) -> str:
    """Write a quantity's name as words."""
    return "signal-to-noise" if name == "snr" else name.replace("_", " ")
