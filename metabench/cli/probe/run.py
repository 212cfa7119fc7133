"""Run a probe from the command line: measure, save, print."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from metabench.cli.fail_on import end_if_found
from metabench.cli.probe.next_command import next_command
from metabench.cli.probe.print_result import Printed, print_result
from metabench.cli.probe.time_budget import clock_of
from metabench.cli.result_files import ResultFiles, files_in, require_writable
from metabench.cli.terminal import progress
from metabench.measurement.from_words import build
from metabench.measurement.on_budget import measure_on_budget
from metabench.records import csv_text, run_folders
from metabench.records import record as records
from metabench.records.provenance import provenance
from metabench.records.rows import to_table
from metabench.report.page import page
from metabench.settings import amounts
from metabench.settings.errors import InvalidInput

if TYPE_CHECKING:
    import pandas as pd

    from metabench.measurement.clock import Clock


def run(
    probe: str,
    *,
    theta: Sequence[str],
    as_json: bool,
    html: Path | None,
    csv: Path | None,
    quiet: bool,
    verbose: bool = False,
    fail_on: str | None = None,
    budget: str | None = None,
    **choices: Any,
) -> None:
    """Measure, print the tables and findings, and save the page, the table and the record.

    Args:
        probe: a listed name, `my.py:Hello` or `my_pkg:Hello`.
        theta: files of trained thetas, measured one after another; none: the initial one.
        as_json: print the record instead of the text.
        html: path of the page, if given.
        csv: path of the table, if given.
        quiet: show no progress.
        verbose: print all findings in full, all tables and the meaning of every term.
        fail_on: severity of findings that makes the exit code 1.
        budget: limit of the total time, such as 30s; of several thetas each gets an equal part.
        choices: the rest as `measurement.from_words.build` takes it.
    """
    require_writable({"--html": html, "--csv": csv})
    if len(theta) > 1:
        _require_text(as_json, html)
    found = []
    files = theta or ("",)
    seconds = amounts.seconds(budget) if budget else None
    for i, file in enumerate(files):
        if i:
            click.echo()
        clock = clock_of(seconds, len(files) - i)
        found.append(_measured(probe, {**choices, "theta": file}, html, csv, quiet, clock))
        if as_json:
            click.echo(found[-1].record)
            continue
        if len(theta) > 1:
            click.echo(f"theta  {file}\n")
        print_result(found[-1].result, verbose)
        click.echo(f"page   {found[-1].files.html}\ntable  {found[-1].files.csv}")
        if len(theta) < 2:
            click.echo(f"next   {next_command(probe, choices)}")
    if csv and len(found) > 1:  # rows have a column theta
        run_folders.write(csv, csv_text.to_csv(_joined([each.result.table for each in found])))
    end_if_found([finding for each in found for finding in each.result.findings], fail_on)


class Measured(NamedTuple):
    """What was measured at one theta, and where it was saved."""

    result: Printed
    record: str
    files: ResultFiles


def _measured(
    probe: str,
    choices: dict[str, Any],
    html: Path | None,
    csv: Path | None,
    quiet: bool,
    clock: Clock | None,
) -> Measured:
    """Measure at one theta, and save the page, the table and the record.

    Args:
        probe: a listed name, `my.py:Hello` or `my_pkg:Hello`.
        choices: as `measurement.from_words.build` takes them.
        html: path of the page, if given.
        csv: path of the table, if given.
        quiet: show no progress.
        clock: the time budget, if there is one.
    """
    cell = build(probe, **choices)
    word = probe.rpartition(":")[2].lower()  # of my.py:Hello, hello
    folder = run_folders.run_folder(word, cell.spec())
    files = files_in(folder, html, csv)
    asked = cell.spec()
    about = cell.adapted_and_learned()
    with progress(probe, quiet, about, announced=True) as report:
        if clock:
            cell, rows = measure_on_budget(cell, clock.reporting(report))
        else:
            cell = cell.resolved()
            rows = cell.measure(report)
    settings = cell.spec()
    table = to_table(rows, settings)
    findings = cell.find(table)
    made = provenance(cell.device)
    more = {"settled": settings, "settings": {"probe": probe, **choices}}
    record = records.text(records.compose(asked, rows, findings, made, more))
    document = page(cell.probe, table, findings, made, settings, about)
    files.write(document, csv_text.to_csv(table), record)
    return Measured(Printed(word, cell.probe, table, findings, settings), record, files)


def _require_text(as_json: bool, html: Path | None) -> None:
    """Refuse options that take one theta where there are several."""
    for given, flag, what in ((as_json, "--json", "one record"), (html, "--html", "one page")):
        if given:
            raise InvalidInput(
                f"{flag} is {what}, of one theta; leave it out, and each theta has a record and a "
                "page of its own in metabench-runs."
            )


def _joined(tables: list[pd.DataFrame]) -> pd.DataFrame:
    import pandas as pd

    return pd.concat(tables, ignore_index=True)
