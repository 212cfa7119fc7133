"""Run a probe from the command line: measure, save, print."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from metabench.cli.fail_on import end_if_found
from metabench.cli.probe.next_command import next_command
from metabench.cli.result_files import files_in, require_writable
from metabench.cli.terminal import print_findings, print_table, print_terms, progress
from metabench.measurement.from_words import build
from metabench.records import csv_text, run_folders
from metabench.records import record as records
from metabench.records.provenance import provenance
from metabench.records.rows import Finding, to_table
from metabench.report.page import page
from metabench.report.text_tables import tables
from metabench.settings import fields

if TYPE_CHECKING:
    import pandas as pd

    from metabench.probes.base import Probe


def run(
    probe: str,
    *,
    as_json: bool,
    html: Path | None,
    csv: Path | None,
    quiet: bool,
    verbose: bool = False,
    fail_on: str | None = None,
    **choices: Any,
) -> None:
    """Measure, print the tables and findings, and save the page, the table and the record.

    Args:
        probe: a listed name, `my.py:Hello` or `my_pkg:Hello`.
        as_json: print the record instead of the text.
        html: path of the page, if given.
        csv: path of the table, if given.
        quiet: show no progress.
        verbose: explain every term that is printed.
        fail_on: severity of findings that makes the exit code 1.
        choices: the rest as `measurement.from_words.build` takes it.
    """
    cell = build(probe, **choices)
    require_writable(html, csv)
    word = probe.rpartition(":")[2].lower()  # of my.py:Hello, hello
    folder = run_folders.run_folder(word, fields.digest(cell.spec()))  # a grid's address too
    files = files_in(folder, html, csv)
    asked, cell = cell.spec(), cell.resolved()
    settings = cell.spec()
    names = f"{settings['algo']['name']} on {settings['family']['name']}"
    with progress(f"{probe}: {names}, seed {cell.seed}", quiet) as report:
        rows = cell.measure(report)
    table = to_table(rows, settings)
    findings = cell.find(table)
    made = provenance(cell.device)
    more = {"settled": settings, "settings": {"probe": probe, **choices}}
    record = records.text(records.compose(asked, rows, findings, made, more))
    document = page(cell.probe, table, findings, made, settings)
    files.write(document, csv_text.to_csv(table), record)
    if as_json:
        click.echo(record)
    else:
        _print(probe, cell.probe, table, findings, verbose)
        click.echo(f"\npage   {files.html}\ntable  {files.csv}")
        click.echo(f"next   {next_command(probe, choices)}")
    end_if_found(findings, fail_on)


def _print(
    name: str, probe: Probe, table: pd.DataFrame, findings: Sequence[Finding], verbose: bool
) -> None:
    """Print tables, findings and the terms that they use."""
    printed = _print_numbers(name, probe, table)
    print_findings(findings)
    said = [text for finding in findings for text in (finding.claim, finding.repair)]
    print_terms("\n".join([*said, *printed]), verbose)


def _print_numbers(name: str, probe: Probe, table: pd.DataFrame) -> list[str]:
    """Print the tables, without the checks unless `verify` was asked for; return their words."""
    numbers = table if name == "verify" else table[table["quantity"] != "check"]
    labels: list[str] = []
    for text in tables(numbers, probe):
        print_table(text)
        click.echo()
        labels += [word for line in (text.header, *text.lines) for word in line]
    return labels
