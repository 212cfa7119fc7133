"""One checkup from the command line: settings, parts, findings, files, words."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from metabench.cli.probe.next_command import same
from metabench.cli.terminal import COLOURS, print_findings, print_table, progress
from metabench.diagnosis import save
from metabench.diagnosis.causes import CAUSES
from metabench.diagnosis.checkup import Checkup, checkup
from metabench.diagnosis.clock import Clock
from metabench.diagnosis.trial import Trial
from metabench.measurement.from_words import build
from metabench.outer_loop.optimizer_settings import Outer
from metabench.records import record_files
from metabench.records.provenance import provenance
from metabench.settings import amounts, fields, registry
from metabench.settings.errors import Misuse


def run(
    *,
    budget: str,
    steps: int,
    assignments: Sequence[str],
    tasks: int | None,
    probe: str,
    as_json: bool,
    html: Path | None,
    csv: Path | None,
    quiet: bool,
    **choices: Any,
) -> None:
    """Diagnose, print what matters, and save the page, the table and the records."""
    seconds = amounts.seconds(budget)
    roots = ("outer", "trial", *registry.members("probes"))
    mine = [given for given in assignments if given.partition(".")[0].strip() in roots]
    own = fields.parse(mine, roots)
    rest = [given for given in assignments if given not in mine]
    only = tuple(name for name in probe.split(",") if name)
    for name in only:
        registry.load("probes", name)
    outer: Outer = fields.make(Outer, own.pop("outer"), "outer")
    trial: Trial = fields.make(Trial, {"steps": max(steps, 1), **own["trial"]}, "trial")
    cell = build("verify", tasks=None, assignments=rest, **choices).settled()
    for path in filter(None, (html, csv)):
        record_files.check_writable(path)
    if html and csv and html.resolve() == csv.resolve():
        raise Misuse(f"--html and --csv both name {html}; give each a file of its own.")
    settings = {key: value for key, value in cell.spec().items() if key != "probe"}
    settings |= {"outer": fields.settings(outer), "try": steps}
    settings |= {name: chosen for name, chosen in own.items() if chosen}
    folder = record_files.run_folder("diagnose", fields.digest(settings))
    made = provenance(cell.device)
    names = f"{settings['algo']['name']} on {settings['family']['name']}"
    with progress(f"diagnose: {names}, seed {cell.seed}", quiet) as report:
        clock = Clock(seconds, lambda gone, total: report(int(1000 * gone), int(1000 * total)))
        keeper = save.Folder(folder, made)
        asked = trial if steps else None
        found = checkup(cell, outer, clock, keeper, chosen=own, only=only, tasks=tasks, trial=asked)
        report(int(1000 * seconds), int(1000 * seconds))
    settings["budget"] = budget
    text = save.record(found, settings, made)
    html, csv = html or folder / "page.html", csv or folder / "table.csv"
    record_files.write(folder / "record.json", text + "\n")
    record_files.write(csv, record_files.to_csv(save.table(found)))
    record_files.write(html, save.page(found, settings, made))
    if as_json:
        click.echo(text)
        return
    _say(found)
    click.echo(f"\npage   {html}\ntable  {csv}\nparts  {folder}/*/record.json")
    click.echo(f"next   {_next(found, choices, outer)}")


def _say(found: Checkup) -> None:
    """Print faults, what was tried, and how many remarks there are besides."""
    for i, fault in enumerate(found.faults, 1):
        first, *others = fault.heard
        sure = "confirmed on fresh tasks" if first.confirmed else "heard once"
        colour = COLOURS[fault.level].split()[-1]
        cause = CAUSES.get(fault.cause, fault.cause)
        click.secho(f"{i}. {cause}: found by {first.probe}, {sure}", fg=colour)
        print_findings([first.finding])
        for other in others:
            click.echo(f"  also {other.probe}, {other.finding.name}: {other.finding.claim}")
        click.echo()
    if not found.faults:
        click.echo("Nothing is wrong that the intervals support.\n")
    laid = save.trials(found)
    if laid is not None:
        print_table(laid)
        click.echo()
        print_findings(found.tried)
        click.echo()
    for note in found.notes:
        click.echo(f"Note: {note}")
    count = sum(not each.alarms for each in found.heard)
    click.echo(f"{count} more findings, none of them a warning, are on the page.")


def _next(found: Checkup, choices: dict[str, Any], outer: Outer) -> str:
    """Name the probe that says more of the first fault, or training where nothing is wrong."""
    given = {**choices, "tasks": None, "assignments": ()}
    if found.faults:
        probe = found.faults[0].heard[0].probe
        return f"metabench {probe} --algo {choices['algo']}" + same(given)
    where = (
        f"--problem {choices['problem']}" if choices["problem"] else f"--family {choices['family']}"
    )
    return f"metabench train --algo {choices['algo']} {where}"
