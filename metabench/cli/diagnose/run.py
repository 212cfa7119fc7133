"""Run a checkup from the command line: measure, save, print."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from metabench.cli.fail_on import end_if_found
from metabench.cli.options import BEGUN
from metabench.cli.probe.next_command import settings_of
from metabench.cli.result_files import files_in, require_writable
from metabench.cli.suggested_command import again, suggest
from metabench.cli.terminal import COLORS, print_findings, print_table, progress
from metabench.diagnosis import save
from metabench.diagnosis.causes import CAUSES, Fault
from metabench.diagnosis.checkup import Checkup
from metabench.diagnosis.checkup_verdict import checkup_verdict
from metabench.diagnosis.page import page
from metabench.diagnosis.plan import Plan, plan_of
from metabench.measurement.clock import Clock
from metabench.records import csv_text, run_folders
from metabench.records.provenance import provenance
from metabench.report.settings_line import settings_line
from metabench.settings import amounts


def run(
    *,
    budget: str,
    as_json: bool,
    html: Path | None,
    csv: Path | None,
    quiet: bool,
    fail_on: str | None = None,
    **choices: Any,
) -> None:
    """Run a checkup, print its faults and trials, and save the page, the table and the records.

    Args:
        budget: total time, such as 3m.
        as_json: print the record instead of the text.
        html: path of the page, if given.
        csv: path of the table, if given.
        quiet: show no progress.
        fail_on: severity of findings that makes the exit code 1.
        choices: the rest as `plan_of` takes it.
    """
    seconds = amounts.seconds(budget)
    require_writable({"--html": html, "--csv": csv})
    plan = plan_of(**choices)
    settings = plan.spec
    folder = run_folders.run_folder("diagnose", settings)
    files = files_in(folder, html, csv)
    made = provenance(plan.measurement.device)
    about = plan.measurement.adapted_and_learned()
    found = _checked(plan, seconds, save.Folder(folder, made), quiet, about)
    settings["budget"] = budget
    text = save.record(found, settings, made)
    files.write(page(found, settings, made, about), csv_text.to_csv(save.table(found)), text)
    if as_json:
        click.echo(text)
    else:
        click.echo(f"diagnose of {settings_line(settings)}")
        _print(found)
        click.echo(f"\npage   {files.html}\ntable  {files.csv}\nparts  {folder}/*/record.json")
        click.echo(f"next   {_next(found, choices, seconds)}")
    findings = [each.finding for each in found.ordered_findings]
    end_if_found(findings, fail_on, sum(not part.rows for part in found.parts))


def _checked(plan: Plan, seconds: float, keeper: save.Folder, quiet: bool, about: str) -> Checkup:
    """Run the checkup and show how much of its time is used up.

    Args:
        plan: what is measured.
        seconds: the budget.
        keeper: stores parts.
        quiet: show no progress.
        about: what adapts and what is learned, a sentence.
    """
    with progress("diagnose", quiet, about, announced=True) as report:
        begun = click.get_current_context().meta.get(BEGUN)
        clock = Clock(
            seconds, lambda gone, total: report(int(1000 * gone), int(1000 * total)), begun
        )
        try:
            found = plan.check(clock, keeper)
        except KeyboardInterrupt as stopped:
            stopped.add_note("The probes that were measured are kept.")
            raise
        report(int(1000 * seconds), int(1000 * seconds))
    return found


def _print(found: Checkup) -> None:
    """Print what was measured, the faults, the trials, the notes and the number of remarks."""
    click.echo(f"verdict  {checkup_verdict(found)}\n")
    for i, fault in enumerate(found.faults, 1):
        _print_fault(i, fault)
    laid = save.trials(found)
    if laid is not None:
        print_table(laid)
        click.echo()
        print_findings(found.tried)
        click.echo()
    for note in found.notes:
        click.echo(f"Note: {note}")
    count = sum(not each.alarms for each in found.findings)
    word = "finding" if count == 1 else "findings"
    click.echo(f"The page has {count} more {word}, none of them a warning.")


def _print_fault(number: int, fault: Fault) -> None:
    """Print a fault: its first finding in full, the claims of the others."""
    first, *others = fault.findings
    checked = "confirmed on fresh tasks" if first.confirmed else "not re-checked"
    color = COLORS[fault.level].split()[-1]
    cause = CAUSES.get(fault.cause, fault.cause)
    click.secho(f"{number}. {cause}: found by {first.probe}, {checked}", fg=color)
    print_findings([first.finding])
    for other in others:
        click.echo(f"  also {other.probe}, {other.finding.name}: {other.finding.claim}")
    click.echo()


def _next(found: Checkup, choices: dict[str, Any], seconds: float) -> str:
    """Return the command to run next.

    It is the probe that found the first fault, the checkup again with twice the time if that ran
    out, or training.
    """
    algo = {"algo": choices["algo"]}
    if found.faults:
        probe = found.faults[0].findings[0].probe
        return suggest(probe, {**algo, "assignments": settings_of(choices, probe)}, ["tasks"])
    if any(part.stopped for part in found.parts):
        return again({**algo, "budget": f"{2 * seconds:g}s"})
    kept = settings_of(choices, "", "outer")
    return suggest("train", {**algo, "assignments": kept}, ["probe", "steps"])
