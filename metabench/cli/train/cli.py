"""The command line of meta-training: a command is a docstring, its options, one call."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

EPILOG = (
    "Exit codes: 0 done, 2 change the command or a path, 3 training stopped because it diverged, "
    "4 the environment broke underneath."
)
FILE = click.Path(path_type=Path)


@click.command(epilog=EPILOG)
@click.option("--algo", default="maml", show_default=True, help="Algorithm.")
@click.option("--family", default="sinusoid", show_default=True, help="Task family.")
@click.option(
    "--problem", metavar="FILE.py:NAME", help="Your own family, or Own(problem, sample), from it."
)
@click.option("--steps", type=click.IntRange(1), default=1000, show_default=True,
              help="Outer steps.")  # fmt: skip
@click.option("--save", type=FILE, metavar="FILE", help="theta, as safetensors; training goes on "
              "from it.  [default: in metabench-runs]")  # fmt: skip
@click.option("--theta", metavar="FILE", default="", help="Start from this theta.")
@click.option("--probe", default="", metavar="NAMES", help="Probes along the way: verify,variance")
@click.option("--every", type=click.IntRange(1), help="Steps from one validation, probe and "
              "checkpoint to the next.  [default: a tenth of the steps]")  # fmt: skip
@click.option("--seed", type=int, default=0, show_default=True, help="Seed of every draw.")
@click.option("--device", default="cpu", show_default=True, help="cpu, cuda or cuda:N.")
@click.option("--dtype", default="float32", show_default=True, help="float32 or float64.")
@click.option("--set", "assignments", multiple=True, metavar="KEY=VALUE",
              help="A field of outer, algo, family, lift or a probe: outer.rate=0.01.")  # fmt: skip
@click.option(
    "--tensorboard", "tensorboard_to", type=FILE, metavar="DIR", help="Write the table there too."
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout.")
@click.option("--html", type=FILE, help="Write the page here.")
@click.option("--csv", type=FILE, help="Write the tidy table here.")
@click.option("--quiet", is_flag=True, help="No progress.")
def train(**options: Any) -> None:
    """Train theta, and say where training diverged or how far it came.

    Kill it anywhere and run it again: it goes on to the same numbers. Every probe takes what it
    saves: metabench variance --theta FILE.
    """
    from metabench.cli.train.run import run

    run(**options)


@click.command(epilog=EPILOG)
@click.argument("file", type=FILE)
@click.option(
    "--problem", metavar="FILE.py:NAME", help="Your own family, where it was recorded with one."
)
@click.option("--algo", default="", help="Algorithm.  [default: the recorded one]")
@click.option("--set", "assignments", multiple=True, metavar="KEY=VALUE",
              help="A field of algo, algo.step.rate=0.001: does it help?")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout.")
def autopsy(**options: Any) -> None:
    """Replay the step at which a training stopped: task, inner step, layer, operation."""
    from metabench.cli.train.replay import replay

    replay(**options)


COMMANDS = [train, autopsy]
