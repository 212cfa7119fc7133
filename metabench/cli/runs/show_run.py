"""`metabench show RUN`: a past run as its command printed it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from metabench.cli.fail_on import end_if_found
from metabench.cli.probe.print_result import Printed, print_result
from metabench.cli.terminal import print_findings, print_json
from metabench.records import csv_text, run_folders
from metabench.records.past_runs import find_run
from metabench.records.rows import Finding, flatten, to_table
from metabench.report.settings_line import settings_line
from metabench.report.stored_settings import reader
from metabench.report.verdict import verdict


def show_run(
    name: str,
    csv: Path | None,
    as_json: bool,
    trusted: tuple[str, ...],
    fail_on: str | None,
    verbose: bool,
) -> None:
    """Print a past run.

    Args:
        name: of its folder, or a part of it.
        csv: path of the table of all numbers; None writes none.
        as_json: print the record instead of text.
        trusted: probes whose code may run besides the listed ones.
        fail_on: severity of findings that makes the exit code 1.
        verbose: print everything.
    """
    run = find_run(name)
    spec = run.record.settled
    table = to_table(run.record.rows, spec)
    if csv is not None:
        run_folders.check_writable(csv)
        run_folders.write(csv, csv_text.to_csv(table))
    if as_json:
        print_json(run.record.whole)
    elif "probe" in spec:
        probe, note = reader(dict(flatten(spec)), trusted)
        word = str(spec["probe"]["name"]).rpartition(":")[2].lower()
        print_result(Printed(word, probe, table, run.findings, spec), verbose)
        click.echo("\n".join(filter(None, (f"page   {run.folder / 'page.html'}", note))))
    else:
        _print_without_probe(run.folder, run.findings, spec)
    end_if_found(run.findings, fail_on)


def _print_without_probe(
    folder: Path, findings: Sequence[Finding], spec: Mapping[str, Any]
) -> None:
    """Print a training or a checkup: what was measured, the verdict and the findings."""
    click.echo(f"{folder.name.partition('-')[0]} of {settings_line(spec)}")
    click.echo(f"verdict  {verdict(findings)}\n")
    print_findings(findings)
    click.echo(f"\npage   {folder / 'page.html'}")
