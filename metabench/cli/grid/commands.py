"""The commands of grids: options and help."""

from __future__ import annotations

from typing import Any

import click

from metabench.cli import exit_codes, options
from metabench.cli.options import FILE

EPILOG = exit_codes.OF_GRIDS
STUDY = click.argument("study", type=FILE)
STORE = options.store("Folder of the results.  [default: metabench-runs/<study's name>]")

running = options.together(
    click.option("--executor", default="pool", show_default=True,
                 help="inline, pool (every device here) or ray (a cluster)."),
    click.option("--workers", type=click.IntRange(0), default=0,
                 help="CPU cells at once.  [default: number of cores]"),
    click.option("--per-gpu", type=click.IntRange(1), default=1, show_default=True,
                 help="GPU cells at once on each GPU."),
    click.option("--threads", type=click.IntRange(1), default=1, show_default=True,
                 help="Threads per cell."),
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
    help="Measure N open cells first, to base the forecast on; their results are kept.",
)
@STORE
@options.json
def plan(**given: Any) -> None:
    """List a study's cells and their states, and forecast time and memory."""
    from metabench.cli.grid.plan import plan

    plan(**given)


@click.command(epilog=EPILOG)
@STUDY
@click.option("--yes", is_flag=True, help="Measure more than 100,000 cells, too.")
@running
def grid(**given: Any) -> None:
    """Measure a study's open cells on all devices of this machine; run again to resume."""
    from metabench.cli.grid.run import grid

    grid(**given, part="0/1")


@click.command(epilog=EPILOG)
@STUDY
@click.option("--part", required=True, metavar="i/N", help="Which part, from 0.")
@click.option(
    "--sbatch",
    type=FILE,
    help="Script of this Slurm job, which is requeued near its time limit if cells are left.",
)
@running
def worker(**given: Any) -> None:
    """Measure part i of N of a study: one job of an array, or one of several machines."""
    from metabench.cli.grid.run import grid

    grid(**given)


@click.command(epilog=EPILOG)
@STUDY
@click.option("--array", type=click.IntRange(1), required=True, help="Jobs of the array.")
@click.option("--time", "limit", default="04:00:00", show_default=True, help="Limit of one job.")
@click.option("--gpus", type=click.IntRange(0), default=0, show_default=True, help="GPUs per job.")
@click.option(
    "--cores", type=click.IntRange(1), default=4, show_default=True, help="Cores per job."
)
@click.option(
    "--mem", "memory", default="", help="Memory per job, such as 16G.  [default: the cluster's]"
)
@click.option("--partition", default="", help="Partition, or several separated by commas.")
@click.option("--account", default="", help="Account that the jobs are charged to.")
@click.option(
    "--grace",
    type=click.IntRange(0),
    help="Seconds before the limit after which no further cell starts and the job is requeued; "
    "0: never.  [default: 300, less if --time is short]",
)
@click.option("--output", type=FILE, help="File of the script.  [default: <study's name>.sbatch]")
@STORE
@options.json
def slurm(**given: Any) -> None:
    """Write a job array of `metabench worker`; submit it with sbatch, and again to resume."""
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
    """Count the cells that are done, open and failed, and say why they failed."""
    from metabench.cli.grid.status import status

    status(**given)


@click.command(epilog=EPILOG)
@STUDY
@click.argument("digest", required=False)
@click.option("--csv", type=FILE, help="File of the tidy table of all numbers.")
@STORE
@options.json
@options.trust
@options.fail_on
def show(**given: Any) -> None:
    """Show a study's results, one cell per line; with a DIGEST, one cell in full."""
    from metabench.cli.grid.show import show

    show(**given)


@click.command(epilog=EPILOG)
@STUDY
@STORE
@options.json
def compact(**given: Any) -> None:
    """Copy all results into two Parquet files for fast reading; the records stay."""
    from metabench.cli.grid.status import compact

    compact(**given)


@click.command(epilog=EPILOG)
@click.argument("a", type=FILE)
@click.argument("b", type=FILE)
@options.json
def compare(**given: Any) -> None:
    """Compare the cells that two stores (or studies) A and B share; exit with 1 if B is worse.

    B is worse if a cell fails, a number moved beyond round-off, or cells take longer.
    """
    from metabench.cli.grid.compare import compare_stores

    compare_stores(**given)


@click.command(epilog=EPILOG)
@STUDY
@click.argument("digests", nargs=-1)
@click.option("--failed", is_flag=True, help="All failed cells.")
@STORE
@options.json
def rm(**given: Any) -> None:
    """Remove cells from a study's store, so that the next grid measures them again."""
    from metabench.cli.grid.status import rm

    rm(**given)


@click.command(epilog=EPILOG)
@click.argument("digest")
@options.store("Folder of the results.  [default: all of metabench-runs]")
@options.json
@options.trust
@options.fail_on
def cell(**given: Any) -> None:
    """Measure one recorded cell again in the foreground; nothing is recorded."""
    from metabench.cli.grid.run import cell

    cell(**given)


COMMANDS = (plan, grid, worker, slurm, status, show, compact, compare, rm, cell)
