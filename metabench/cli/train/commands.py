"""The commands of meta-training: a command is a docstring, its options, one call."""

from __future__ import annotations

from typing import Any

import click

from metabench.cli import exit_codes, options


@click.command(epilog=exit_codes.OF_TRAINING)
@options.algo("Algorithm.")
@options.family
@options.problem()
@click.option("--steps", type=click.IntRange(1), default=1000, show_default=True,
              help="Outer steps.")  # fmt: skip
@click.option("--save", type=options.FILE, metavar="FILE", help="theta, as safetensors; training "
              "goes on from it.  [default: in metabench-runs]")  # fmt: skip
@options.theta("Start from this theta.")
@options.probes("Probes along the way: verify,variance")
@click.option("--every", type=click.IntRange(1), help="Steps from one validation, probe and "
              "checkpoint to the next.  [default: a tenth of the steps]")  # fmt: skip
@options.arithmetic
@options.settings("A field of outer, algo, family, compute or a probe: outer.rate=0.01.")
@click.option("--tensorboard", "tensorboard_to", type=options.FILE, metavar="DIR",
              help="Write the table there too.")  # fmt: skip
@options.results
def train(**given: Any) -> None:
    """Train theta, and say where training diverged or how far it came.

    Kill it anywhere and run it again: it goes on to the same numbers. Every probe takes what it
    saves: metabench variance --theta FILE.
    """
    from metabench.cli.train.run import run

    run(**given)


@click.command(epilog=exit_codes.OF_TRAINING)
@click.argument("file", type=options.FILE)
@options.problem("Your own family, where it was recorded with one.")
@options.algo("Algorithm.  [default: the recorded one]", default="")
@options.settings("A field of algo, algo.inner_optimizer.rate=0.001: does it help?")
@options.json
def replay(**given: Any) -> None:
    """Replay the step at which a training stopped: task, inner step, layer, operation."""
    from metabench.cli.train.replay import replay

    replay(**given)


COMMANDS = (train, replay)
