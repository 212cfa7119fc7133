"""The headline numbers of a probe's table: few, with their meaning, the rest is for the page."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from metabench.records.number_format import number
from metabench.records.rows import Row, Rows, by_quantity
from metabench.report.quantity_names import axis_of, label, meaning
from metabench.report.text_tables import MEANING, NOT_NUMBERS, TextTable, cell

if TYPE_CHECKING:
    import pandas as pd

    from metabench.probes.base import Probe

MOST_HEADLINES = 11  # lines of the table
HEADER = ("quantity", "value with 95 % interval", MEANING)


def headline(table: pd.DataFrame, probe: Probe) -> TextTable:
    """Return the headline numbers of a table, of all parameters, one a line.

    They are those that the probe names in `headline`; of a probe that names none, the quantities
    that reports compare, then the others.

    >>> import metabench as mb
    >>> rows = [mb.Row("noise_scale", value=5.6, low=5.1, high=6.1), mb.Row("seconds", at=1.0)]
    >>> headline(mb.to_table(rows), mb.Variance()).lines
    (('noise scale', '5.6 [5.1, 6.1]', 'batch size at which noise equals signal [tasks]'),)
    """
    rows = by_quantity(table[table["layer"] == ""])
    chosen = [row for name in probe.headline for row in _named(rows, name)]
    if not probe.headline:
        compared = [row for name in probe.table_quantities for row in _named(rows, name)]
        chosen = [*compared, *_others(rows, compared)]
    chosen = [row for row in chosen if row.status != "zero"][:MOST_HEADLINES]
    lines = [
        (_label(row, probe), cell(row), meaning(probe, row.quantity, row.of)) for row in chosen
    ]
    if not any(line[-1] for line in lines):
        return TextTable(HEADER[:-1], tuple(line[:-1] for line in lines))
    return TextTable(HEADER, tuple(lines))


def _label(row: Row, probe: Probe) -> str:
    name = label(row.quantity, row.of)
    axis = axis_of(probe, row.quantity, row.of)
    return name if row.at is None else f"{name} ({axis or 'at'} = {number(row.at)})"


def _named(rows: Rows, name: str) -> Sequence[Row]:
    """Return the rows that "quantity", "quantity, of" or "norm @ last" names.

    Behind the `@` stands a value of `at`, or `first` or `last` for its least or largest value.
    """
    text, _, place = name.partition(" @ ")
    quantity, _, of = text.partition(", ")
    found = [row for row in rows.get(quantity, ()) if of in ("*", row.of)]
    places = sorted({row.at for row in found if row.at is not None})
    if not place or not places:
        return [row for row in found if row.at is None or of == "*"]
    chosen = {"first": places[0], "last": places[-1]}.get(place)
    at = float(place) if chosen is None else chosen
    return [row for row in found if row.at == at]


def _others(rows: Rows, chosen: Sequence[Row]) -> list[Row]:
    """Return the rows that a table without headlines shows: numbers other than times and facts."""
    return [
        row
        for quantity, each in rows.items()
        for row in each
        if row not in chosen and quantity != "check" and quantity not in NOT_NUMBERS
        if "seconds" not in quantity
    ]
