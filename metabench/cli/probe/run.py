"""One probe from the command line: settings, measurement, findings, files, words."""

from __future__ import annotations

import dataclasses
import hashlib
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from metabench.algorithms.base import Estimator
from metabench.algorithms.black_box import BlackBox
from metabench.estimation.vectorization import Lift
from metabench.measurement.measurement import Cell
from metabench.problems.custom import Own
from metabench.problems.family import Family
from metabench.records import record_files
from metabench.records.provenance import provenance
from metabench.records.rows import to_table
from metabench.report.page import page
from metabench.report.terminal import print_findings, print_table, progress
from metabench.report.text_tables import tables
from metabench.settings import fields, registry
from metabench.settings.errors import Misuse

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
        record_files.check_writable(path)
    if html and csv and html.resolve() == csv.resolve():
        raise Misuse(f"--html and --csv both name {html}; give each a file of its own.")
    folder = record_files.run_folder(
        probe, fields.digest(cell.spec())
    )  # as asked: a grid's address too
    cell = cell.settled()
    settings = cell.spec()
    names = f"{settings['algo']['name']} on {settings['family']['name']}"
    with progress(f"{probe}: {names}, seed {cell.seed}", quiet) as report:
        rows = cell.measure(report)
    table = to_table(rows, settings)
    findings = cell.diagnose(table)
    made = provenance(cell.device)
    record = record_files.record(settings, rows, findings, made)
    document = page(cell.probe, table, findings, made, settings)
    html, csv = html or folder / "page.html", csv or folder / "table.csv"
    record_files.write(folder / "record.json", record + "\n")
    record_files.write(csv, record_files.to_csv(table))
    record_files.write(html, document)
    if as_json:
        click.echo(record)
        return
    # checks have a finding; among the numbers they stand where they were asked for
    numbers = table if probe == "verify" else table[table["quantity"] != "check"]
    for text in tables(numbers, cell.probe):
        print_table(text)
        click.echo()
    print_findings(findings)
    click.echo(f"\npage   {html}\ntable  {csv}\nnext   {_next(probe, choices)}")


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
    chosen = fields.parse(assignments, ROOTS)
    made = family_of(family, problem, chosen["family"])
    if not registry.load("probes", probe).own_tasks:
        chosen["probe"].setdefault("tasks", made.tasks)
    if tasks is not None:
        chosen["probe"]["tasks"] = tasks
    cell = Cell(
        probe=fields.build("probes", probe, chosen["probe"]),
        algorithm=algorithm_of(algo, chosen["algo"]),
        family=made,
        lift=fields.make(Lift, chosen["lift"], "lift"),
        seed=seed,
        dtype=dtype,
        device=device,
        theta=theta,
    )
    cell.require_device()
    return cell


def family_of(name: str, problem: str | None, settings: dict[str, Any]) -> Family:
    """Make a family by name, or take the one that stands in a file."""
    if problem is None:
        made: Family = fields.build("families", name, settings)
        return made
    if ":" not in problem:
        raise Misuse(f"--problem takes FILE.py:NAME, a Family in that file; given {problem!r}.")
    found: Any = registry.load("families", problem)
    if isinstance(found, type):
        found = fields.make(found, settings, problem)
    elif settings:
        raise Misuse(f"{problem} is made already; set {', '.join(settings)} in its file.")
    if not isinstance(found, Family):
        raise Misuse(
            f"{problem} is a {type(found).__name__}; it must be a metabench.Family, with "
            "problem(), theta(seed) and sample(address, seed), or metabench.Own(problem, sample)."
        )
    return dataclasses.replace(found, name=_address(problem)) if isinstance(found, Own) else found


def algorithm_of(name: str, settings: dict[str, Any]) -> Estimator:
    """Make an algorithm by name, or take a black box as it stands in a file."""
    found: Any = registry.load("algorithms", name) if ":" in name else None
    if not isinstance(found, BlackBox):
        made: Estimator = fields.build("algorithms", name, settings)
        return made
    if settings:
        raise Misuse(f"{name} is a black box; it has no field {next(iter(settings))!r} to set.")
    return dataclasses.replace(found, name=_address(name))


def _address(target: str) -> str:
    """Name what a file holds by the file's contents, so that a changed file is another cell."""
    file, _, name = target.rpartition(":")
    path = Path(file)
    if not path.is_file():
        return target
    return f"{path.name}@{hashlib.sha256(path.read_bytes()).hexdigest()[:12]}:{name}"


def _next(probe: str, choices: dict[str, Any]) -> str:
    """Name a command that goes further: of variance the shortcut, then real data, then fields."""
    if probe != "variance":
        kept = [g for g in choices["assignments"] if not g.startswith("probe.")]
        told = {**choices, "tasks": None, "assignments": kept}
        return f"metabench diagnose --algo {choices['algo']}" + same(told)
    if choices["algo"] == "maml":
        return "metabench variance --algo fomaml" + same(choices)
    if choices["problem"] is not None and ":" in choices["algo"]:
        return f"metabench contract {choices['algo']} --problem {choices['problem']}"
    if choices["family"] != "digits" and choices["problem"] is None:
        return f"metabench variance --algo {choices['algo']} --family digits"
    return f"metabench list {choices['algo']}   (its fields, for --set algo.FIELD=VALUE)"


def same(choices: dict[str, Any]) -> str:
    """Write the rest of the command again, so that two results differ in one thing."""
    words = []
    if choices["problem"] is not None:
        words += ["--problem", choices["problem"]]
    elif choices["family"] != "sinusoid":
        words += ["--family", choices["family"]]
    for name, default in (("theta", ""), ("tasks", None), ("seed", 0), ("dtype", "float32")):
        if choices[name] != default:
            words += [f"--{name}", str(choices[name])]
    kept = (given for given in choices["assignments"] if not given.startswith("algo.trail"))
    words += [word for given in kept for word in ("--set", given)]
    return f" {shlex.join(words)}" if words else ""
