"""The command line of a checkup: a command is a docstring, its options, one call."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

EPILOG = "Exit codes: 0 done, 2 change the command or a path, 4 the environment broke underneath."
FILE = click.Path(path_type=Path)


@click.command(epilog=EPILOG)
@click.option("--algo", default="maml", show_default=True,
              help="Algorithm, or FILE.py:NAME of a BlackBox.")  # fmt: skip
@click.option("--family", default="sinusoid", show_default=True, help="Task family.")
@click.option(
    "--problem", metavar="FILE.py:NAME", help="Your own family, or Own(problem, sample), from it."
)
@click.option("--theta", metavar="FILE", default="", help="Trained theta: .pt or .safetensors")
@click.option("--budget", default="3m", show_default=True, metavar="TIME",
              help="For all of it: 90s, 3m, 1h.")  # fmt: skip
@click.option("--try", "steps", type=click.IntRange(0), default=8, show_default=True, metavar="N",
              help="Outer steps that each change is tried over, paired; 0: try none.")  # fmt: skip
@click.option("--tasks", type=int, help="Most fresh tasks to draw.  [default: the family's]")
@click.option("--probe", default="", metavar="NAMES",
              help="Only these, such as verify,variance.  [default: all]")  # fmt: skip
@click.option("--seed", type=int, default=0, show_default=True, help="Seed of every draw.")
@click.option("--device", default="cpu", show_default=True, help="cpu, cuda or cuda:N.")
@click.option("--dtype", default="float32", show_default=True, help="float32 or float64.")
@click.option("--set", "assignments", multiple=True, metavar="KEY=VALUE",
              help="A field of outer, trial, algo, family, lift or a probe")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout.")
@click.option("--html", type=FILE, help="Write the page here.")
@click.option("--csv", type=FILE, help="Write the tidy table here.")
@click.option("--quiet", is_flag=True, help="No progress.")
def diagnose(**options: Any) -> None:
    """Ask every probe what is wrong, and try what could help: one command, one page.

    Tell it how you train: --set outer.batch=4 --set outer.rate=0.01. What warns is asked again on
    fresh tasks; run again, it goes on where it was stopped.
    """
    from metabench.cli.diagnose.run import run

    run(**options)


COMMANDS = [diagnose]
