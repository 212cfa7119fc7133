"""The files and words of a finished training."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click
import pandas as pd

from metabench.measurement import measure_with_checks
from metabench.outer_loop.trainer import Trainer
from metabench.probes.verify import Verify
from metabench.records import record_files
from metabench.records.provenance import provenance
from metabench.records.rows import LEVELS, Finding, Row, row, to_table
from metabench.report.page import page
from metabench.report.terminal import print_table
from metabench.report.text_tables import tables
from metabench.training.measure import logged
from metabench.training.shown import Training

SHOWN = 11  # most steps of the table that are printed


def report(
    shown: Training,
    trainer: Trainer,
    rows: list[Row],
    settings: Mapping[str, Any],
    *,
    as_json: bool,
    html: Path,
    csv: Path,
    record: Path,
) -> list[Finding]:
    """Write the page, the table and the record, print the table or the record; give findings."""
    rows = [*logged(trainer, shown.every), *rows]
    if not trainer.failure:
        rows.append(row("gain", trainer.gain()))
    table = to_table(rows, settings)
    findings = [*shown.diagnose(table), *measure_with_checks.foreign(table), *_checks(table)]
    findings.sort(key=lambda finding: LEVELS.index(finding.level))
    made = provenance(str(settings["device"]))
    text = record_files.record(settings, rows, findings, made)
    record_files.write(record, text + "\n")
    record_files.write(csv, record_files.to_csv(table))
    record_files.write(html, page(shown, table, findings, made, settings))
    if as_json:
        click.echo(text)
    else:
        for each in tables(_thinned(table), shown):
            print_table(each)
            click.echo()
    return findings


def _checks(table: pd.DataFrame) -> list[Finding]:
    """Say what is wrong with the meta-gradient itself, if anything is."""
    return [finding for finding in Verify().diagnose(table) if finding.level != "info"]


def _thinned(table: pd.DataFrame) -> pd.DataFrame:
    """Leave out checks, and keep a few of the steps at which theta was validated."""
    table = table[~table["quantity"].isin(["check", "theta"])]
    steps = sorted(table.loc[table["quantity"] == "validation", "at"])
    chosen = steps[:: -(-len(steps) // SHOWN)] if steps else []
    return table[table["at"].isna() | table["at"].isin([*chosen, *steps[-1:]])]
