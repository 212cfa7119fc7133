"""The command `diagnose`: its docstring, its options, one call."""

from __future__ import annotations

from typing import Any

import click

from metabench.cli import exit_codes, options


@click.command(epilog=exit_codes.EPILOG)
@options.algo()
@options.family
@options.problem()
@options.theta()
@click.option("--budget", default="3m", show_default=True, metavar="TIME",
              help="For all of it: 90s, 3m, 1h.")  # fmt: skip
@click.option("--try", "steps", type=click.IntRange(0), default=8, show_default=True, metavar="N",
              help="Outer steps that each change is tried over, paired; 0: try none.")  # fmt: skip
@options.tasks("Most fresh tasks to draw.")
@options.probes("Only these, such as verify,variance.  [default: all]")
@options.arithmetic
@options.settings("A field of outer, trial, algo, family, compute or a probe")
@options.results
def diagnose(**given: Any) -> None:
    """Ask every probe what is wrong, and try what could help: one command, one page.

    Tell it how you train: --set outer.batch=4 --set outer.rate=0.01. What warns is asked again on
    fresh tasks; run again, it goes on where it was stopped.
    """
    from metabench.cli.diagnose.run import run

    run(**given)


COMMANDS = (diagnose,)
