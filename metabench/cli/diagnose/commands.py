"""The command `diagnose`: options and help."""

from __future__ import annotations

from typing import Any

import click

from metabench.cli import exit_codes, options
from metabench.cli.measuring_start import start
from metabench.cli.theta_option import theta


@click.command(epilog=exit_codes.OF_PROBES)
@options.algo()
@options.family
@options.problem()
@theta()
@click.option("--budget", default="3m", show_default=True, metavar="TIME",
              help="Limit of the total time: 90s, 3m, 1h.")  # fmt: skip
@click.option("--try", "steps", type=click.IntRange(0), default=8, show_default=True, metavar="N",
              help="Outer steps over which each change is tried; 0: try none.")  # fmt: skip
@options.tasks("Maximum number of tasks to draw.")
@options.probes("Probes to run, e.g. verify,variance.  [default: all]")
@options.arithmetic
@options.settings("Set a field of outer, trial, algo, family, compute or a probe: outer.batch=4.")
@options.results
@options.fail_on
def diagnose(**given: Any) -> None:
    """Run all probes, rank what is wrong, and try changes.

    Describe your outer loop: --set outer.batch=4 --set outer.rate=0.01. Every warning is
    re-measured on fresh tasks. Run the command again to resume it.
    """
    start("diagnose", given)
    from metabench.cli.diagnose.run import run

    run(**given)


COMMANDS = (diagnose,)
