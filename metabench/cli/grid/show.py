"""The command `show`: one line per cell, or one cell in full."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from metabench.cli.fail_on import end_if_found
from metabench.cli.left_out import end_without, warn
from metabench.cli.result_files import require_writable
from metabench.cli.suggested_command import suggest
from metabench.cli.terminal import print_json
from metabench.grid.study import study as studies
from metabench.records import csv_text, run_folders
from metabench.records.rows import Finding, Row, rows_from_tuples
from metabench.records.store.store_paths import find_record, store_of
from metabench.records.store.tables import Tables, setting_text, tables, tidy, varying
from metabench.settings.errors import InvalidInput
from metabench.settings.printed_names import algorithm_on_family
from metabench.settings.trust import members_of_study, require_named

if TYPE_CHECKING:
    import pandas as pd

    from metabench.probes.base import Probe

MOST_CELLS_PRINTED = 40  # --csv writes all


def show(
    study: Path,
    digest: str | None,
    csv: Path | None,
    store: Path | None,
    as_json: bool,
    trusted: tuple[str, ...],
    fail_on: str | None = None,
) -> None:
    """Print a study's results, one line per cell, or one cell in full.

    Args:
        study: path of the study file.
        digest: first digits of one cell's digest; None shows all cells.
        csv: path of the table of all numbers; None writes none.
        store: folder of the results; None is the default one.
        as_json: print JSON instead of text.
        trusted: probes whose code may run besides the listed ones and the study's.
        fail_on: severity of the one cell's findings that makes the exit code 1.

    Raises:
        InvalidInput: if nothing is measured yet, the one cell's record is damaged, it doesn't name
            a trusted member, or `fail_on` or `trusted` is given without a cell.
        SystemExit: with 3 if damaged records were left out.
    """
    kept = store_of(study, store).require_readable()
    if digest is not None:
        found = find_record(digest, kept.folder)
        require_named(found["spec"], trusted)
        show_cell(found, as_json, (*trusted, *members_of_study(study)), fail_on)
        return
    if fail_on is not None:
        raise InvalidInput(
            "--fail-on judges one cell's findings: give its DIGEST, or judge all cells with "
            f"{_report_of(study)}."
        )
    if trusted:
        raise InvalidInput("--trust allows one cell's probe to be run: give the cell's DIGEST.")
    require_writable({"--csv": csv})
    asked = studies.read(study)
    result = tables(kept, asked.cells)
    if not len(result.cells):
        warn(result.broken)
        raise InvalidInput(f"No cell is measured yet; run {suggest('grid')}.")
    if csv is not None:
        run_folders.write(csv, csv_text.to_csv(tidy(result)))
    if as_json:
        print_json(plain(tidy(result)))
    else:
        _print_cells(result)
    end_without(result.broken)


def _report_of(study: Path) -> str:
    return suggest("report", {"sources": (study,)})


def show_cell(
    record: Mapping[str, Any], as_json: bool, trusted: Sequence[str], fail_on: str | None = None
) -> None:
    """Print one record: its numbers and findings, or why there are none.

    Args:
        record: as its file has it.
        as_json: print JSON instead of text.
        trusted: probes whose code may run besides the listed ones.
        fail_on: severity of findings that makes the exit code 1.
    """
    found = _read(record, trusted)
    if as_json:
        print_json(record)
    else:
        _print_cell(record, found)
    end_if_found(found.findings if found else [], fail_on, unmeasured=found is None)


class _Read(NamedTuple):
    """A record's table as its probe reads it."""

    table: pd.DataFrame
    probe: Probe
    findings: list[Finding]
    note: str


def _read(record: Mapping[str, Any], trusted: Sequence[str]) -> _Read | None:
    """Return a record's table and findings, None if there are no numbers."""
    from metabench.measurement import find_with_checks
    from metabench.records.rows import flatten, to_table
    from metabench.report.stored_settings import reader

    if not record["rows"]:
        return None
    probe, note = reader(dict(flatten(record["spec"])), trusted)
    table = to_table([Row(**row) for row in record["rows"]], record["spec"])
    return _Read(table, probe, find_with_checks.find(probe, table), note)


def _print_cell(record: Mapping[str, Any], found: _Read | None) -> None:
    """Print one record: its numbers and findings, or why there are none."""
    from metabench.cli.terminal import print_findings, print_table
    from metabench.report import text_tables

    names = algorithm_on_family(record["spec"])
    click.echo(f"{record['digest']}  {names}, seed {record['spec']['seed']}: {record['outcome']}\n")
    if found is None:
        click.echo(record.get("traceback") or record.get("error", ""))
        return
    for text in text_tables.tables(found.table, found.probe):
        print_table(text)
        click.echo()
    print_findings(found.findings)
    if found.note:
        click.echo(found.note)


def _print_cells(result: Tables) -> None:
    """Print one line per cell: settings that vary, then the numbers of the whole cell."""
    from metabench.cli.terminal import print_table
    from metabench.report.quantity_names import label
    from metabench.report.text_tables import TextTable, cell, overall_rows

    rows = overall_rows(result.rows)
    rows = rows[rows["quantity"] != "check"]
    made = rows_from_tuples(rows[list(Row._fields)].itertuples(index=False))
    numbers = {(i, r.quantity, r.of): r for i, r in zip(rows["cell"], made, strict=True)}
    names = list(dict.fromkeys((r.quantity, r.of) for r in made))
    settings = varying(result.cells)
    shown = result.cells[:MOST_CELLS_PRINTED]
    lines = [
        (
            str(shown["digest"][i]),
            str(shown["outcome"][i]),
            *(setting_text(shown[name][i]) for name in settings),
            *(cell(numbers.get((i, *name))) for name in names),
        )
        for i in shown.index
    ]
    header = ("cell", "status", *settings, *(label(*name) for name in names))
    print_table(TextTable(header, tuple(lines)))
    if len(result.cells) > MOST_CELLS_PRINTED:
        click.echo(f"... and {len(result.cells) - MOST_CELLS_PRINTED:,} more: --csv writes all")


def plain(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Return a table's rows as JSON values; missing numbers are null."""
    lines = table.astype(object).to_dict("records")
    return [{str(k): None if _missing(v) else v for k, v in line.items()} for line in lines]


def _missing(value: Any) -> bool:
    return isinstance(value, float) and not math.isfinite(value)
