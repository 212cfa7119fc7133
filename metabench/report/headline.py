"""The headline numbers of a probe's table: few, with their meaning, the rest is for the page."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from metabench.records.number_format import number
from metabench.records.rows import Row, Rows, by_quantity
from metabench.report.quantity_names import axis_of, label, meaning
from metabench.report.text_tables import MEANING, TextTable, cell, tables

if TYPE_CHECKING:
    import pandas as pd

    from metabench.probes.base import Probe

MOST_HEADLINES = 10  # lines of the table
HEADER = ("quantity", "value with 95 % interval", MEANING)


def headline(table: pd.DataFrame, probe: Probe) -> TextTable:
    """Return the headline numbers of a table, of all parameters, one a line.

    They are those that the probe names in `headline`; of a probe that names none, its first table.

    >>> import metabench as mb
    >>> rows = [mb.Row("noise_scale", value=5.6, low=5.1, high=6.1), mb.Row("seconds", at=1.0)]
    >>> headline(mb.to_table(rows), mb.Variance()).lines
    (('noise scale', '5.6 [5.1, 6.1]', 'batch size at which noise equals signal [tasks]'),)
    """
    if not probe.headline:
        first = next(iter(tables(table[table["quantity"] != "check"], probe)), TextTable((), ()))
        return first._replace(lines=first.lines[:MOST_HEADLINES])
    rows = by_quantity(table[table["layer"] == ""])
    chosen = [row for name in probe.headline for row in _named(rows, _of_probe(name, probe))]
    chosen = [row for row in chosen if row.status != "zero"][:MOST_HEADLINES]
    lines = [
        (_label(row, probe), cell(row), meaning(probe, row.quantity, row.of)) for row in chosen
    ]
    if not any(line[-1] for line in lines):
        return TextTable(HEADER[:-1], tuple(line[:-1] for line in lines))
    return TextTable(HEADER, tuple(lines))


def _of_probe(name: str, probe: Probe) -> str:
    """Return a name with the value of the probe's field behind the `@`: "mse, * @ batch"."""
    text, _, place = name.partition(" @ ")
    value = getattr(probe, place, None) if place.isidentifier() else None
    return name if value is None else f"{text} @ {value}"


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
