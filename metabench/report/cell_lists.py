"""Tables of cells: their numbers, and the reasons of those without a result."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from metabench.records.rows import Row, rows_from_tuples
from metabench.report.evidence import FINE, Evidence
from metabench.report.findings import Diagnosis
from metabench.report.labels import setting_text
from metabench.report.page import numbered
from metabench.report.quantity_names import words
from metabench.report.text_tables import Table, TextTable, cell, details, tables
from metabench.settings.trust import named_in

if TYPE_CHECKING:
    import pandas as pd

MOST_CELLS_LISTED = 150  # cells listed one by one


def numbers_of(evidence: Evidence, words_of: pd.DataFrame, found: Diagnosis) -> list[Table]:
    """Return all tables of a single cell, or one table per probe with a line per cell.

    Args:
        evidence: the cells and their numbers.
        words_of: the labels of the cells, by `labels`.
        found: the probe and tidy table of each cell.
    """
    if len(found.tables) == 1 == len(evidence.cells):
        ((number, table),) = found.tables.items()
        probe = found.probes[number]
        texts = [*tables(table, probe), *details(table, probe)]
        return [numbered("numbers", i, text) for i, text in enumerate(texts, 1)]
    made = []
    for probe in dict.fromkeys(words_of["probe"]):
        cells = words_of.index[words_of["probe"] == probe]
        text = _cells(evidence, words_of, cells)
        left = len(cells) - MOST_CELLS_LISTED
        more = f", the first {MOST_CELLS_LISTED} of {len(cells):,}" if left > 0 else ""
        made.append(Table(f"cells-{probe or 'all'}", f"Cells of {probe or 'all'}{more}", text))
    return made


def failures(evidence: Evidence, labels: pd.DataFrame) -> Table | None:
    """Return the table of cells without a result, with the reasons; None if all have one."""
    failed = evidence.cells[~evidence.cells["outcome"].isin(FINE)]
    if not len(failed):
        return None
    lines = tuple(
        (
            str(label),
            setting_text(line["outcome"]),
            setting_text(line["error"]),
            _command({str(name): value for name, value in line.items()}, evidence.trusted),
        )
        for label, (_, line) in zip(labels["label"][failed.index], failed.iterrows(), strict=True)
    )
    header = ("cell", "outcome", "reason", "reproduce with")
    return Table("failed", "Cells without a result", TextTable(header, lines))


def _command(line: dict[str, Any], trusted: Sequence[str]) -> str:
    """Return the command that measures a cell again; "" if its digest is unknown.

    Args:
        line: of the cell.
        trusted: unlisted members whose code may be run.
    """
    if not (digest := setting_text(line["digest"])):
        return ""
    store = setting_text(line["store"])
    words = ["metabench", "cell", digest, *(["--store", store] if store else [])]
    for name in named_in(line, trusted):
        words += ["--trust", name]
    return shlex.join(words)


def _cells(evidence: Evidence, words_of: pd.DataFrame, cells: pd.Index[int]) -> TextTable:
    chosen = cells[:MOST_CELLS_LISTED]
    rows = evidence.rows
    rows = rows[rows["at"].isna() & (rows["of"] == "") & (rows["layer"] == "")]
    rows = rows[rows["cell"].isin(chosen) & rows["value"].notna()]
    names = list(dict.fromkeys(rows["quantity"]))[:10]
    rows = rows[rows["quantity"].isin(names)]
    lines = rows_from_tuples(rows[list(Row._fields)].itertuples(index=False))
    there = {
        (number, row.quantity): cell(row) for number, row in zip(rows["cell"], lines, strict=True)
    }
    outcome = evidence.cells["outcome"]
    body = tuple(
        (
            str(words_of["label"][i]),
            str(outcome[i]),
            *(there.get((i, name), "") for name in names),
        )
        for i in chosen
    )
    return TextTable(("cell", "outcome", *map(words, names)), body)
