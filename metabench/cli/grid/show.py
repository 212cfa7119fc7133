"""The command `show`: one line per cell, or one cell in full."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from metabench.cli.left_out import end_without, warn
from metabench.cli.terminal import print_json
from metabench.grid.study import study as studies
from metabench.records import run_folders
from metabench.records.rows import Row, from_table
from metabench.records.store.store_paths import find_record, store_of
from metabench.records.store.tables import Tables, setting_text, tables, tidy, varying
from metabench.settings.errors import InvalidInput
from metabench.settings.own_members import custom_members

if TYPE_CHECKING:
    import pandas as pd

MOST_CELLS_PRINTED = 40  # --csv writes all


def show(
    study: Path,
    digest: str | None,
    csv: Path | None,
    store: Path | None,
    as_json: bool,
    trusted: tuple[str, ...],
) -> None:
    """Print a study's results, one line per cell, or one cell in full.

    Args:
        study: path of the study file.
        digest: first digits of one cell's digest; None shows all cells.
        csv: path of the table of all numbers; None writes none.
        store: folder of the results; None is the default one.
        as_json: print JSON instead of text.
        trusted: probes whose code may run besides the listed ones and the study's.

    Raises:
        InvalidInput: if nothing is measured yet, or the one cell's record is damaged.
        SystemExit: with 3 if damaged records were left out.
    """
    kept = store_of(study, store).require_readable()
    if digest is not None:
        show_cell(find_record(digest, kept.folder), as_json, (*trusted, *custom_members(study)))
        return
    if csv is not None:
        run_folders.check_writable(csv)
    asked = studies.read(study)
    result = tables(kept, asked.cells)
    if not len(result.cells):
        warn(result.broken)
        raise InvalidInput(f"No cell is measured yet; run metabench grid {study}.")
    if csv is not None:
        run_folders.write(csv, run_folders.to_csv(tidy(result)))
    if as_json:
        print_json(plain(tidy(result)))
    else:
        _print_cells(result)
    end_without(result.broken)


def show_cell(record: Mapping[str, Any], as_json: bool, trusted: Sequence[str]) -> None:
    """Print one record: its numbers and findings, or why there are none.

    Args:
        record: as its file has it.
        as_json: print JSON instead of text.
        trusted: probes whose code may run besides the listed ones.
    """
    if as_json:
        print_json(record)
        return
    names = f"{record['spec']['algo']['name']} on {record['spec']['family']['name']}"
    click.echo(f"{record['digest']}  {names}, seed {record['spec']['seed']}: {record['outcome']}\n")
    if not record["rows"]:
        click.echo(record.get("traceback") or record.get("error", ""))
        return
    _print_rows(record, trusted)


def _print_cells(result: Tables) -> None:
    """Print one line per cell: settings that vary, then every number without an axis."""
    from metabench.cli.terminal import print_table
    from metabench.report.text_tables import TextTable, cell, words

    rows = result.rows[result.rows["at"].isna()]
    names = list(dict.fromkeys(rows["quantity"].astype(str)))
    numbers: dict[tuple[int, str], Row] = {
        (i, name): row
        for name in names
        for i, row in zip(
            rows["cell"][rows["quantity"] == name],
            from_table(rows, name, of=None, layer=None),
            strict=True,
        )
    }
    settings = varying(result.cells)
    shown = result.cells[:MOST_CELLS_PRINTED]
    lines = [
        (
            str(shown["digest"][i]),
            str(shown["outcome"][i]),
            *(setting_text(shown[name][i]) for name in settings),
            *(cell(numbers.get((i, name))) for name in names),
        )
        for i in shown.index
    ]
    header = ("cell", "status", *settings, *map(words, names))
    print_table(TextTable(header, tuple(lines)))
    if len(result.cells) > MOST_CELLS_PRINTED:
        click.echo(f"... and {len(result.cells) - MOST_CELLS_PRINTED:,} more: --csv writes all")


def _print_rows(record: Mapping[str, Any], trusted: Sequence[str]) -> None:
    from metabench.cli.terminal import print_findings, print_table
    from metabench.measurement import find_with_checks
    from metabench.records.rows import flatten, to_table
    from metabench.report.stored_settings import reader
    from metabench.report.text_tables import by_axis, overall

    probe, note = reader(dict(flatten(record["spec"])), trusted)
    table = to_table([Row(**row) for row in record["rows"]], record["spec"])
    print_table(by_axis(table, probe.axis))
    click.echo()
    print_table(overall(table))
    print_findings(find_with_checks.find(probe, table))
    if note:
        click.echo(note)


def plain(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Return a table's rows as JSON values; missing numbers are null."""
    lines = table.astype(object).to_dict("records")
    return [{str(k): None if _missing(v) else v for k, v in line.items()} for line in lines]


def _missing(value: Any) -> bool:
    return isinstance(value, float) and not math.isfinite(value)
