"""One probe from the command line: settings, measurement, findings, files, words."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from metabench import output, plugins, spec
from metabench.cell import Cell
from metabench.console import print_findings, print_table, progress
from metabench.families.family import Family
from metabench.lift import Lift
from metabench.misuse import Misuse
from metabench.provenance import provenance
from metabench.report.page import page
from metabench.report.text import tables
from metabench.rows import to_table

ROOTS = ("algo", "family", "probe", "lift")


def run(
    probe: str,
    *,
    as_json: bool,
    html: Path | None,
    csv: Path | None,
    quiet: bool,
    **choices: Any,
) -> None:
    """Measure one cell, print what it says and save the page, the table and the record."""
    cell = build(probe, **choices)
    for path in filter(None, (html, csv)):
        output.check_writable(path)
    settings = cell.spec()
    folder = output.run_folder(probe, spec.digest(settings))
    names = f"{settings['algo']['name']} on {settings['family']['name']}"
    with progress(f"{probe}: {names}, seed {cell.seed}", quiet) as report:
        rows = cell.measure(report)
    table = to_table(rows, settings)
    findings = cell.probe.diagnose(table)
    made = provenance(cell.device)
    record = output.record(settings, rows, findings, made)
    document = page(cell.probe, table, findings, made, settings)
    html, csv = html or folder / "page.html", csv or folder / "table.csv"
    output.write(folder / "record.json", record + "\n")
    output.write(csv, output.to_csv(table))
    output.write(html, document)
    if as_json:
        click.echo(record)
        return
    for i, text in enumerate(tables(table, cell.probe.axis)):
        click.echo("\n" if i else "", nl=False)
        print_table(text)
    print_findings(findings)
    click.echo(f"\npage   {html}\ntable  {csv}\nnext   {_next(choices)}")


def build(
    probe: str,
    *,
    algo: str,
    family: str,
    problem: str | None,
    theta: str,
    tasks: int | None,
    seed: int,
    device: str,
    dtype: str,
    assignments: Sequence[str],
) -> Cell:
    """Make a cell of command-line settings, typed and checked."""
    chosen = spec.parse(assignments, ROOTS)
    made = _family(family, problem, chosen["family"])
    chosen["probe"].setdefault("tasks", made.tasks)
    if tasks is not None:
        chosen["probe"]["tasks"] = tasks
    return Cell(
        probe=spec.build("probes", probe, chosen["probe"]),
        algorithm=spec.build("algorithms", algo, chosen["algo"]),
        family=made,
        lift=spec.make(Lift, chosen["lift"], "lift"),
        seed=seed,
        dtype=dtype,
        device=device,
        theta=theta,
    )


def _family(name: str, problem: str | None, settings: dict[str, Any]) -> Family:
    if problem is None:
        made: Family = spec.build("families", name, settings)
        return made
    if ":" not in problem:
        raise Misuse(f"--problem takes FILE.py:NAME, a Family in that file; given {problem!r}.")
    found: Any = plugins.load("families", problem)
    if isinstance(found, type):
        found = spec.make(found, settings, problem)
    if not isinstance(found, Family):
        raise Misuse(
            f"{problem} is a {type(found).__name__}; it must be a metabench.Family, with "
            "problem(), theta(seed) and sample(address, seed)."
        )
    return found


def _next(choices: dict[str, Any]) -> str:
    """Name a command that goes further: the first-order shortcut, then real data, then fields."""
    if choices["algo"] == "maml":
        return "metabench variance --algo fomaml" + _same(choices)
    if choices["family"] != "digits" and choices["problem"] is None:
        return f"metabench variance --algo {choices['algo']} --family digits"
    return f"metabench list {choices['algo']}   (its fields, for --set algo.FIELD=VALUE)"


def _same(choices: dict[str, Any]) -> str:
    if choices["problem"] is not None:
        return f" --problem {choices['problem']}"
    return "" if choices["family"] == "sinusoid" else f" --family {choices['family']}"
