"""The command line of grids: a command is a docstring, its options, one call."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

EPILOG = (
    "Exit codes: 0 done, 1 a regression (compare), 2 change the command, study or path, 3 some "
    "cells failed, 4 the environment broke underneath, 130 interrupted."
)
FILE = click.Path(path_type=Path)

STORE = click.option(
    "--store", type=FILE, help="Folder of the results.  [default: metabench-runs/<study's name>]"
)
JSON = click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout.")
STUDY = click.argument("study", type=FILE)


def running(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options of running cells."""
    options = [
        click.option("--engine", default="pool", show_default=True,
                     help="inline, pool (every device here) or ray (a cluster)."),
        click.option("--workers", type=click.IntRange(0), default=0,
                     help="CPU cells at once.  [default: as many as there are cores]"),
        click.option("--per-gpu", type=click.IntRange(1), default=1, show_default=True,
                     help="GPU cells at once on each GPU."),
        click.option("--threads", type=click.IntRange(1), default=1, show_default=True,
                     help="Threads of a cell."),
        click.option("--retry", is_flag=True, help="Measure failed cells again too."),
        click.option("--quiet", is_flag=True, help="No progress."),
        STORE,
        JSON,
    ]  # fmt: skip
    for option in reversed(options):
        command = option(command)
    return command


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
@JSON
def plan(**options: Any) -> None:
    """List a study's cells, those already done, and a forecast of time and memory."""
    from metabench.cli.grid.plan import plan

    plan(**options)


@click.command(epilog=EPILOG)
@STUDY
@running
def grid(**options: Any) -> None:
    """Measure a study's open cells on every device of this machine; run again to go on."""
    from metabench.cli.grid.run import grid

    grid(**options, share="0/1")


@click.command(epilog=EPILOG)
@STUDY
@click.option("--shard", "share", required=True, metavar="i/N", help="Which share, from 0.")
@running
def worker(**options: Any) -> None:
    """Measure one of N equal shares of a study: a job of an array, one of several machines."""
    from metabench.cli.grid.run import grid

    grid(**options)


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
@JSON
def slurm(**options: Any) -> None:
    """Write a job array of `metabench worker`; submit it with sbatch, again to go on."""
    from metabench.cli.grid.plan import slurm

    slurm(**options)


@click.command(epilog=EPILOG)
@STUDY
@STORE
@JSON
def status(**options: Any) -> None:
    """Say how many cells are done, open and failed, and why they failed."""
    from metabench.cli.grid.status import status

    status(**options)


@click.command(epilog=EPILOG)
@STUDY
@click.argument("digest", required=False)
@click.option("--csv", type=FILE, help="Write the tidy table of every number here.")
@STORE
@JSON
def show(**options: Any) -> None:
    """Show a study's results, a cell a line; with a DIGEST, one cell in full."""
    from metabench.cli.grid.show import show

    show(**options)


@click.command(epilog=EPILOG)
@STUDY
@STORE
@JSON
def compact(**options: Any) -> None:
    """Gather the results into Parquet files that are read at once; the records stay."""
    from metabench.cli.grid.status import compact

    compact(**options)


@click.command(epilog=EPILOG)
@click.argument("a", type=FILE)
@click.argument("b", type=FILE)
@JSON
def compare(**options: Any) -> None:
    """Compare the cells that two stores (or studies) A and B share; exit 1 if B is worse.

    Worse is a cell that fails now, a number that moved beyond round-off, or more time a cell.
    """
    from metabench.cli.grid.compare import compare_stores

    compare_stores(**options)


@click.command(epilog=EPILOG)
@STUDY
@click.argument("digests", nargs=-1)
@click.option("--failed", is_flag=True, help="All that failed.")
@STORE
@JSON
def rm(**options: Any) -> None:
    """Forget cells of a study, so that the next grid measures them again."""
    from metabench.cli.grid.status import rm

    rm(**options)


@click.command(epilog=EPILOG)
@click.argument("digest")
@click.option("--store", type=FILE, help="Folder of the results.  [default: all of metabench-runs]")
@JSON
def cell(**options: Any) -> None:
    """Measure one cell on record again, alone and in the foreground; nothing is recorded."""
    from metabench.cli.grid.run import cell

    cell(**options)


COMMANDS = (plan, grid, worker, slurm, status, show, compact, compare, rm, cell)
