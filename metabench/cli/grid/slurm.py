"""The command `slurm`, which writes a job array, and the end of one of its jobs."""

from __future__ import annotations

import shlex
from pathlib import Path

import click

from metabench.cli.exit_codes import DONE, FAILED
from metabench.cli.grid.large_studies import require_leave
from metabench.cli.result_files import require_writable
from metabench.cli.suggested_command import suggest
from metabench.cli.terminal import print_json
from metabench.grid.scheduling import slurm_commands
from metabench.grid.scheduling.progress_counts import Tally
from metabench.grid.scheduling.slurm_script import Request, script
from metabench.grid.scheduling.work_units import units
from metabench.grid.study import study as studies
from metabench.records.store.store_paths import store_of
from metabench.settings.errors import InvalidInput


def slurm(
    study: Path,
    output: Path | None,
    store: Path | None,
    as_json: bool,
    yes: bool,
    request: Request,
) -> None:
    """Write the batch script of a study.

    Args:
        study: path of the study file.
        output: path of the script; None is `<study>.sbatch`.
        store: folder of the results; None is the default one.
        as_json: print JSON instead of text.
        yes: write it for a very large study, too.
        request: resources of each job.

    Raises:
        InvalidInput: for a larger array than this machine's Slurm allows.
    """
    from metabench.records.run_folders import write

    place = output or Path(f"{study.stem}.sbatch")
    require_writable({"--output": place})
    require_leave(study, yes)
    asked = studies.read(study)
    jobs = min(request.array, len(units(asked)))
    most = slurm_commands.largest_array()
    if most is not None and jobs > most:
        raise InvalidInput(
            f"--array {request.array}: Slurm allows at most {most:,} jobs in an array here "
            f"(MaxArraySize); give --array {most}."
        )
    kept = store_of(study, store).folder
    write(place, script(study, kept, request.of_jobs(jobs), place))
    if as_json:
        print_json({"script": str(place), "cells": len(asked.cells), "jobs": jobs})
        return
    fewer = f" (more of the {request.array:,} would have none)" if jobs < request.array else ""
    click.echo(f"script {place}: {len(asked.cells):,} cells over {jobs:,} jobs{fewer}")
    click.echo(f"next   {submission(place)}   then {suggest('status')}")


def submission(place: Path) -> str:
    """Return the command that submits a script."""
    path = f"./{place}" if str(place).startswith("-") else str(place)  # which is no option
    return f"sbatch {shlex.quote(path)}"


def leave_job(tally: Tally, place: Path) -> int:
    """Requeue this job, which has cells left near its time limit; return its exit code.

    If that is impossible, print the command that submits the script again. A job that measured
    nothing would do so again, so it isn't requeued.

    Args:
        tally: counts of the job's run.
        place: path of the script that submitted it.
    """
    left = f"{tally.to_go:,} cells are left near the job's time limit"
    if not tally.gained:
        click.echo(
            f"{left}, and none was measured in this job. Write the script again with a longer "
            "--time: metabench slurm --help"
        )
        return FAILED
    click.echo(f"{left}; the job goes back into the queue.")
    if refused := slurm_commands.requeue():
        click.echo(f"Slurm did not requeue it ({refused}). Continue with: {submission(place)}")
    return DONE
