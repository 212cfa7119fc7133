"""The command `runs`: past runs with date, verdict and command."""

from __future__ import annotations

import click

from metabench.cli.left_out import end_without
from metabench.cli.terminal import print_json
from metabench.records import run_folders
from metabench.records.past_runs import Run, past_runs
from metabench.report.verdict import verdict

DATE = "%Y-%m-%d %H:%M"


def list_runs(as_json: bool) -> None:
    """Print past runs, the latest last.

    Args:
        as_json: print JSON instead of text.

    Raises:
        SystemExit: with 3 if damaged records were left out.
    """
    found, broken = past_runs()
    if as_json:
        print_json([_line(run) for run in found])
    elif not found:
        click.echo(f"There are no runs in {run_folders.RUNS}; start with: metabench variance")
    for run in found if not as_json else ():
        line = _line(run)
        click.echo(f"{line['date']}  {line['run']}\n  {line['verdict']}\n  {line['command']}")
    end_without(broken)


def _line(run: Run) -> dict[str, str]:
    said = verdict(run.findings)
    if coverage := run.record.whole.get("coverage"):
        said = f"{coverage} {said}"
    return {
        "date": run.date.strftime(DATE),
        "run": run.folder.name,
        "verdict": said,
        "command": run.command,
    }
