"""The commands of grids: a command is a docstring, its options, one call."""

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
                 help="CPU cells at once.  [default: as many as there are cores]"),
    click.option("--per-gpu", type=click.IntRange(1), default=1, show_default=True,
                 help="GPU cells at once on each GPU."),
    click.option("--threads", type=click.IntRange(1), default=1, show_default=True,
                 help="Threads of a cell."),
    click.option("--retry", is_flag=True, help="Measure failed cells again too."),
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
    help="Measure N open cells first, for the forecast; they are kept.",
)
@STORE
@options.json
def plan(**given: Any) -> None:
    """List a study's cells, those already done, and a forecast of time and memory."""
    from metabench.cli.grid.plan import plan

    plan(**given)


@click.command(epilog=EPILOG)
@STUDY
@running
def grid(**given: Any) -> None:
    """Measure a study's open cells on every device of this machine; run again to go on."""
    from metabench.cli.grid.run import grid

    grid(**given, part="0/1")


@click.command(epilog=EPILOG)
@STUDY
@click.option("--part", required=True, metavar="i/N", help="Which part, from 0.")
@running
def worker(**given: Any) -> None:
    """Measure part i of N of a study: one job of an array, or one of several machines."""
    from metabench.cli.grid.run import grid

    grid(**given)


@click.command(epilog=EPILOG)
@STUDY
@click.option("--array", type=click.IntRange(1), required=True, help="Jobs of the array.")
@click.option("--time", "limit", default="04:00:00", show_default=True, help="Limit of one job.")
@click.option("--gpus", type=click.IntRange(0), default=0, show_default=True, help="GPUs a job.")
@click.option("--cores", type=click.IntRange(1), default=4, show_default=True, help="Cores a job.")
@click.option(
    "--grace",
    type=click.IntRange(0),
    default=300,
    show_default=True,
    help="Seconds before the limit from which no further cell is begun.",
)
@click.option("--output", type=FILE, help="Write here.  [default: <study's name>.sbatch]")
@STORE
@options.json
def slurm(**given: Any) -> None:
    """Write a job array of `metabench worker`; submit it with sbatch, again to go on."""
    from metabench.cli.grid.plan import slurm

    slurm(**given)


@click.command(epilog=EPILOG)
@STUDY
@STORE
@options.json
def status(**given: Any) -> None:
    """Say how many cells are done, open and failed, and why they failed."""
    from metabench.cli.grid.status import status

    status(**given)


@click.command(epilog=EPILOG)
@STUDY
@click.argument("digest", required=False)
@click.option("--csv", type=FILE, help="Write the tidy table of every number here.")
@STORE
@options.json
@options.trust
def show(**given: Any) -> None:
    """Show a study's results, a cell a line; with a DIGEST, one cell in full."""
    from metabench.cli.grid.show import show

    show(**given)


@click.command(epilog=EPILOG)
@STUDY
@STORE
@options.json
def compact(**given: Any) -> None:
    """Gather the results into Parquet files that are read at once; the records stay."""
    from metabench.cli.grid.status import compact

    compact(**given)


@click.command(epilog=EPILOG)
@click.argument("a", type=FILE)
@click.argument("b", type=FILE)
@options.json
def compare(**given: Any) -> None:
    """Compare the cells that two stores (or studies) A and B share; exit 1 if B is worse.

    Worse is a cell that fails now, a number that moved beyond round-off, or more time a cell.
    """
    from metabench.cli.grid.compare import compare_stores

    compare_stores(**given)


@click.command(epilog=EPILOG)
@STUDY
@click.argument("digests", nargs=-1)
@click.option("--failed", is_flag=True, help="All that failed.")
@STORE
@options.json
def rm(**given: Any) -> None:
    """Forget cells of a study, so that the next grid measures them again."""
    from metabench.cli.grid.status import rm

    rm(**given)


@click.command(epilog=EPILOG)
@click.argument("digest")
@options.store("Folder of the results.  [default: all of metabench-runs]")
@options.json
@options.trust
def cell(**given: Any) -> None:
    """Measure one cell on record again, alone and in the foreground; nothing is recorded."""
    from metabench.cli.grid.run import cell

    cell(**given)


COMMANDS = (plan, grid, worker, slurm, status, show, compact, compare, rm, cell)
