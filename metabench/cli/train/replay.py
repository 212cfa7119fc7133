"""The command `replay`: recompute the step at which a training diverged."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click

from metabench.cli.fail_on import end_if_found
from metabench.cli.terminal import print_findings, print_table
from metabench.records import record
from metabench.records.number_format import number
from metabench.records.provenance import provenance
from metabench.report.text_tables import TextTable
from metabench.settings import fields
from metabench.training.replay import Replayed
from metabench.training.replay import replay as compute

HEADER = ("step", "|theta|", "|g| of the last step's tasks")


def replay(
    file: Path,
    problem: str | None,
    algo: str,
    assignments: Sequence[str],
    as_json: bool,
    fail_on: str | None = None,
) -> None:
    """Recompute the recorded step, and print where it diverges or that it no longer does.

    Args:
        file: the recording.
        problem: `FILE.py:NAME` of the family or problem, if the recording used one.
        algo: algorithm to use; "" is the recorded one.
        assignments: fields of the algorithm to change: `algo.steps=5`.
        as_json: print JSON instead of text.
        fail_on: severity of findings that makes the exit code 1.
    """
    found = compute(file, problem, algo, fields.parse(assignments, ("algo",))["algo"])
    if as_json:
        settings = {"recording": file.name, **found.spec}
        rows = [*found.rows, *found.finding.evidence]
        made = record.compose(settings, rows, [found.finding], provenance("cpu"))
        click.echo(record.text(made))
    else:
        _print(found)
    end_if_found([found.finding], fail_on)


def _print(found: Replayed) -> None:
    print_table(TextTable(HEADER, _lines(found)))
    click.echo()
    print_findings([found.finding])
    click.echo(f"\n{found.address_check}")


def _lines(found: Replayed) -> tuple[tuple[str, ...], ...]:
    return tuple(
        (str(step), number(theta), number(norm))
        for (step, theta), norm in zip(found.thetas, found.norms, strict=True)
    )
