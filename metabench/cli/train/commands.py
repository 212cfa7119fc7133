"""The commands `train` and `replay`: options and help."""

from __future__ import annotations

from typing import Any

import click

from metabench.cli import exit_codes, options
from metabench.cli.theta_option import theta


@click.command(epilog=exit_codes.OF_TRAINING)
@options.algo("Algorithm.")
@options.family
@options.problem()
@click.option("--steps", type=click.IntRange(1), default=1000, show_default=True,
              help="Number of outer steps.")  # fmt: skip
@click.option("--save", type=options.OUTPUT, metavar="FILE", help="File to save theta in, as "
              "safetensors; training resumes from it.  [default: in metabench-runs]")  # fmt: skip
@theta("Initial theta, from a file.")
@options.probes("Probes to run during training: verify,variance.")
@click.option("--every", type=click.IntRange(1), help="Steps between validations, which run "
              "the probes and save a checkpoint.  [default: a tenth of the steps]")  # fmt: skip
@options.arithmetic
@options.settings("Set a field of outer, algo, family, compute or a probe: outer.rate=0.01.")
@click.option("--tensorboard", "tensorboard_to", type=options.OUTPUT, metavar="DIR",
              help="Folder to which TensorBoard files are written, too.")  # fmt: skip
@options.results
@options.fail_on
def train(**given: Any) -> None:
    """Train theta, and report its progress or where it diverged.

    A killed training resumes when the command is run again, and reaches the same numbers. Every
    probe reads the saved theta: metabench variance --theta FILE.
    """
    from metabench.cli.train.run import run

    run(**given)


@click.command(epilog=exit_codes.OF_TRAINING)
@click.argument("file", type=options.FILE)
@options.problem("Family or Problem from your file, if the recording used one.")
@options.algo("Algorithm.  [default: the recorded one]", default="")
@options.settings("Change a field of algo, to see if it helps: algo.inner_optimizer.rate=0.001.")
@options.json
@options.fail_on
def replay(**given: Any) -> None:
    """Replay the step at which a training run diverged.

    Name the task, inner step, layer and operation of the first failure.
    """
    from metabench.cli.train.replay import replay

    replay(**given)


COMMANDS = (train, replay)
