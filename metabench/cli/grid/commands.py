"""The commands of grids: options and help."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from metabench.cli import completion, exit_codes, options
from metabench.cli.options import FILE, OUTPUT

EPILOG = exit_codes.OF_GRIDS
STUDY = click.argument("study", type=FILE)
STORE = options.store("Folder of the results.  [default: metabench-runs/<study's name>]")

running = options.together(
    click.option("--executor", default="pool", show_default=True,
                 help="What runs the cells: inline (this process), pool (all devices here) or "
                 "ray (a cluster)."),
    click.option("--workers", type=click.IntRange(0), default=0,
                 help="Number of cells that run at once on the CPU.  [default: number of cores]"),
    click.option("--per-gpu", type=click.IntRange(1), default=1, show_default=True,
                 help="Number of cells that run at once on each GPU."),
    click.option("--threads", type=click.IntRange(1), default=1, show_default=True,
                 help="Number of CPU threads per cell."),
    click.option("--retry", is_flag=True, help="Measure failed cells again, too."),
    options.quiet,
    STORE,
    options.json,
)  # fmt: skip


@click.command(epilog=EPILOG)
@STUDY
@click.option(
    "--measure",
    type=click.IntRange(0),
    default=0,
    metavar="N",
    help="First measure N open cells, from which to forecast; their results are kept.",
)
@STORE
@options.json
def plan(**given: Any) -> None:
    """List a study's cells, and forecast time and memory."""
    from metabench.cli.grid.plan import plan

    plan(**given)


@click.command(epilog=EPILOG)
@STUDY
@click.option("--yes", is_flag=True, help="Measure more than 100,000 cells, too.")
@running
def grid(**given: Any) -> None:
    """Measure a study's open cells on all devices of this machine.

    A cell is one measurement: a probe on one algorithm, family and seed. After an interruption,
    run the command again: measured cells are skipped.
    """
    from metabench.cli.grid.run import grid
    from metabench.grid.scheduling.work_units import WHOLE_STUDY

    grid(**given, part=WHOLE_STUDY)


@click.command(epilog=EPILOG)
@STUDY
@click.option(
    "--part", required=True, metavar="i/N", help="Part to measure, from 0/N to (N - 1)/N."
)
@click.option(
    "--sbatch",
    type=FILE,
    help="Script of this Slurm job, which is requeued near its time limit if cells are left.",
)
@running
def worker(**given: Any) -> None:
    """Measure part i of N of a study, as one of several jobs.

    The jobs may run on several machines that share the folder of the results.
    """
    from metabench.cli.grid.run import grid

    grid(**given)


@click.command(epilog=EPILOG)
@STUDY
@click.option("--array", type=click.IntRange(1), required=True, help="Number of jobs in the array.")
@click.option(
    "--time", "limit", default="04:00:00", show_default=True, help="Time limit of one job."
)
@click.option(
    "--gpus", type=click.IntRange(0), default=0, show_default=True, help="Number of GPUs per job."
)
@click.option(
    "--cores",
    type=click.IntRange(1),
    default=4,
    show_default=True,
    help="Number of CPU cores per job.",
)
@click.option(
    "--mem", "memory", default="", help="Memory per job, such as 16G.  [default: the cluster's]"
)
@click.option("--partition", default="", help="Partition, or several separated by commas.")
@click.option("--account", default="", help="Account that the jobs are charged to.")
@click.option(
    "--grace",
    type=click.IntRange(0),
    help="Seconds before the time limit at which the job starts no further cell and is requeued; "
    "0: never.  [default: 300, less if --time is short]",
)
@click.option("--yes", is_flag=True, help="Write it for more than 100,000 cells, too.")
@click.option(
    "--output", type=OUTPUT, help="File to write the script to.  [default: <study's name>.sbatch]"
)
@STORE
@options.json
def slurm(**given: Any) -> None:
    """Write a job array of `metabench worker` for Slurm.

    Submit it with sbatch, and again to resume.
    """
    from metabench.cli.grid.slurm import slurm
    from metabench.grid.scheduling.slurm_script import Request

    resources = {name: given.pop(name) for name in Request.__dataclass_fields__}
    slurm(**given, request=Request(**resources))


@click.command(epilog=EPILOG)
@STUDY
@click.option("--check", is_flag=True, help="Read every record in full, changed or not.")
@STORE
@options.json
def status(**given: Any) -> None:
    """Count done, open and failed cells, with the reasons of failures."""
    from metabench.cli.grid.status import status

    status(**given)


@click.command(epilog=EPILOG)
@click.argument("study", metavar="STUDY|RUN", type=FILE, shell_complete=completion.runs)
@click.argument("digest", required=False)
@click.option("--csv", type=OUTPUT, help="File to write all numbers to, as one tidy table.")
@STORE
@options.json
@options.verbose
@options.trust
@options.fail_on
def show(study: Path, verbose: bool, **given: Any) -> None:
    """Show a past run, or a study's results.

    RUN is the name of a folder in metabench-runs, or a part of it (metabench runs). A study is
    shown a line per cell; give the DIGEST of a cell, as the list shows it, to see all its numbers
    and findings.
    """
    from metabench.cli.grid.show import show
    from metabench.records.past_runs import is_run

    if given["digest"] is None and study.suffix != ".toml" and is_run(str(study)):
        from metabench.cli.runs.show_run import show_run

        known = {name: given[name] for name in ("csv", "as_json", "trusted", "fail_on")}
        show_run(str(study), verbose=verbose, **known)
    else:
        show(study, **given)


@click.command(epilog=EPILOG)
@STUDY
@STORE
@options.json
def compact(**given: Any) -> None:
    """Copy all results into two Parquet files, for fast reading.

    The records stay.
    """
    from metabench.cli.grid.status import compact

    compact(**given)


@click.command(epilog=EPILOG)
@click.argument("a", type=FILE, shell_complete=completion.runs)
@click.argument("b", type=FILE, shell_complete=completion.runs)
@options.json
def compare(**given: Any) -> None:
    """Compare two past runs, or the cells that two stores or studies share.

    Of two runs (metabench runs) each quantity is shown with the difference B - A and its interval.
    Of two studies, B is worse if a cell fails, a number differs beyond round-off, or cells take
    longer; then the exit code is 1.
    """
    from metabench.cli.grid.compare import compare_stores
    from metabench.records.past_runs import is_run

    if all(given[name].suffix != ".toml" and is_run(str(given[name])) for name in ("a", "b")):
        from metabench.cli.runs.compare_runs import compare_runs

        compare_runs(str(given["a"]), str(given["b"]), given["as_json"])
    else:
        compare_stores(**given)


@click.command(epilog=EPILOG)
@STUDY
@click.argument("digests", nargs=-1)
@click.option("--failed", is_flag=True, help="Remove all failed cells.")
@STORE
@options.json
def rm(**given: Any) -> None:
    """Remove cells, so that the next grid measures them again."""
    from metabench.cli.grid.status import rm

    rm(**given)


@click.command(epilog=EPILOG)
@click.argument("digest")
@options.store("Folder of the results.  [default: all of metabench-runs]")
@options.json
@options.trust
@options.fail_on
def cell(**given: Any) -> None:
    """Measure one recorded cell again, without recording it.

    It runs in the foreground, so that errors and output can be seen.
    """
    from metabench.cli.grid.run import cell

    cell(**given)


COMMANDS = (plan, grid, worker, slurm, status, show, compact, compare, rm, cell)
