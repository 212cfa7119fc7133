"""Text tables of rows, as terminals and pages show them."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from metabench.records.number_format import interval_text, number
from metabench.records.rows import Row, from_table
from metabench.records.source_names import source_name
from metabench.report.quantity_names import BY_SOURCE, axis_of, label, meaning, of_name, words

if TYPE_CHECKING:
    import pandas as pd

    from metabench.probes.base import Probe

MEANING = "meaning [unit]"  # head of a column
# facts for findings
NOT_NUMBERS = ("changed", "unavailable", "fused_norm", "zero", "broadcast", "other_gradient")
REASONS = {
    "zero": "0 by construction",
    "declared": "none, as the algorithm declares",
    "no_reference": "withheld: no exact estimator named",
    "not_redrawable": "withheld: a redraw changes nothing",
    "redraw_not_independent": "withheld: a redraw changes other draws too",
}

TASK_INDICES = ("largest_task", "first_diverged")  # quantities whose value names a task


class TextTable(NamedTuple):
    """A header and lines of text, all of the same length."""

    header: tuple[str, ...]
    lines: tuple[tuple[str, ...], ...]


class Table(NamedTuple):
    """A table of a page, with caption and the positions of the best numbers."""

    name: str  # of the file it is saved as
    caption: str
    text: TextTable
    best: frozenset[tuple[int, int]] = frozenset()


def tables(table: pd.DataFrame, probe: Probe) -> list[TextTable]:
    """Return the tables of the quantities of all parameters, as printed in a terminal."""
    table = table[~table["quantity"].isin(probe.figure_only)]
    first = by_quantity(table, probe) if probe.table_by_quantity else by_axis(table, probe.axis)
    return [text for text in (first, by_source(table), overall(table, probe)) if text.lines]


def details(table: pd.DataFrame, probe: Probe) -> list[TextTable]:
    """Return the tables by estimator and by layer, which only pages show."""
    table = table[~table["quantity"].isin(probe.figure_only)]
    rest = [] if probe.table_by_quantity else by_method(table, probe)
    return [text for text in (*rest, by_layer(table)) if text.lines]


def by_quantity(table: pd.DataFrame, probe: Probe) -> TextTable:
    """Return the quantities measured along the axis, with a column per value of `at`."""
    part = table[table["at"].notna() & (table["layer"] == "")]
    places = sorted(set(part["at"]))
    names = dict.fromkeys(zip(part["quantity"], part["of"], strict=True))
    lines = []
    for name, of in names:
        rows = {r.at: r for r in from_table(part, name, of)}
        cells = (cell(rows.get(at)) for at in places)
        lines.append((label(name, of), *cells, meaning(probe, name, of)))
    return _explained(TextTable((probe.axis, *map(number, places), MEANING), tuple(lines)))


def by_axis(table: pd.DataFrame, axis: str) -> TextTable:
    """Return the quantities measured along the axis, with a line per value of `at`."""
    part = table[table["at"].notna() & (table["of"] == "") & (table["layer"] == "")]
    # a column that is zero everywhere says nothing
    quantities = [
        name
        for name in dict.fromkeys(part["quantity"])
        if name != "diverged" or (part.loc[part["quantity"] == name, "status"] != "ok").any()
    ]
    rows = {(r.quantity, r.at): r for name in quantities for r in from_table(part, name)}
    places = sorted(set(part["at"]))
    lines = [(number(at), *(cell(rows.get((name, at))) for name in quantities)) for at in places]
    return TextTable((axis, *map(words, quantities)), tuple(lines))


def by_source(table: pd.DataFrame) -> TextTable:
    """Return the variance components and their shares, with a line per source."""
    shares = {r.of: r for r in from_table(table, "share", of=None)}
    lines = [
        (source_name(r.of), cell(r), cell(shares.get(r.of)))
        for r in from_table(table, "component", None)
    ]
    return TextTable(("source", "variance", "share"), tuple(lines))


def overall(table: pd.DataFrame, probe: Probe) -> TextTable:
    """Return the quantities without `at`, with a line each."""
    part = overall_rows(table)
    lines = [
        (label(r.quantity, r.of), cell(r), meaning(probe, r.quantity, r.of))
        for name in dict.fromkeys(part["quantity"])
        for r in from_table(part, name, of=None)
    ]
    return _explained(TextTable(("quantity", "value with 95 % interval", MEANING), tuple(lines)))


def _explained(table: TextTable) -> TextTable:
    """Leave out the column of meanings if the probe explains nothing."""
    if any(line[-1] for line in table.lines):
        return table
    return TextTable(table.header[:-1], tuple(line[:-1] for line in table.lines))


def overall_rows(table: pd.DataFrame) -> pd.DataFrame:
    """Return the rows without `at` of all parameters, except components, shares and facts."""
    whole = table["at"].isna() & (table["layer"] == "")
    return table[whole & ~table["quantity"].isin([*NOT_NUMBERS, *BY_SOURCE])]


def by_method(table: pd.DataFrame, probe: Probe) -> list[TextTable]:
    """Return the quantities of several methods along their axes.

    Quantities with the same axis and the same methods share a table, with a line per method and
    value of `at`.
    """
    part = table[table["at"].notna() & (table["of"] != "") & (table["layer"] == "")]
    quantities: dict[tuple[str, str], list[str]] = {}
    for name, of in dict.fromkeys(zip(part["quantity"], part["of"], strict=True)):
        quantities.setdefault((name, axis_of(probe, name, of)), []).append(of)
    groups: dict[tuple[str, tuple[str, ...]], list[str]] = {}
    for (name, axis), methods in quantities.items():
        groups.setdefault((axis, tuple(methods)), []).append(name)
    return [_of_methods(part, axis, of, names) for (axis, of), names in groups.items()]


def _of_methods(
    part: pd.DataFrame, axis: str, methods: tuple[str, ...], names: list[str]
) -> TextTable:
    rows = {(r.quantity, r.of, r.at): r for name in names for r in from_table(part, name, of=None)}
    places = sorted({at for _, of, at in rows if of in methods and at is not None})
    lines = [
        (of_name(of), number(at), *(cell(rows.get((name, of, at))) for name in names))
        for of in methods
        for at in places
        if any((name, of, at) in rows for name in names)
    ]
    if len(methods) > 1:
        return TextTable(("method", axis, *map(words, names)), tuple(lines))
    header = (axis, *(label(name, methods[0]) for name in names))
    return TextTable(header, tuple(line[1:] for line in lines))


def by_layer(table: pd.DataFrame) -> TextTable:
    """Return all quantities by layer, with a line per layer."""
    part = table[table["layer"] != ""]
    columns = dict.fromkeys(zip(part["quantity"], part["of"], strict=True))
    rows = {
        (r.quantity, r.of, r.layer): r
        for name, of in columns
        for r in from_table(part, name, of, layer=None)
    }
    lines = [
        (layer, *(cell(rows.get((*column, layer))) for column in columns))
        for layer in dict.fromkeys(part["layer"])
    ]
    header = ("layer", *(label(name, of) for name, of in columns))
    return TextTable(header, tuple(lines))


def cell(row: Row | None) -> str:
    """Write a number with its interval, or the status of a missing one.

    >>> cell(Row("noise_scale", value=40.0, low=21.0, status="unbounded"))
    '40 [21, unbounded]'
    >>> cell(Row("noise_scale", status="withheld"))
    'withheld'
    >>> cell(Row("largest_task", value=1110.0))
    'task 1110'
    """
    if row is None:
        return ""
    if row.status in REASONS:
        return REASONS[row.status]
    if row.value is None and row.low is None:
        return row.status.replace("_", " ")
    if row.quantity in TASK_INDICES and row.of in ("", "task") and row.value is not None:
        return f"task {row.value:.0f}"
    text = "unbounded" if row.value is None else number(row.value)
    if row.low is not None or row.high is not None:
        text += f" {interval_text(row.low, row.high)}"
    known = row.status in ("ok", "unbounded", "info", row.quantity)
    return text if known else f"{text} ({row.status.replace('_', ' ')})"
