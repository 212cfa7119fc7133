"""The command line: a command is a docstring, its options, one call."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

import metabench
from metabench.cli.diagnose.cli import COMMANDS as CHECKING
from metabench.cli.grid.options import COMMANDS
from metabench.cli.train.cli import COMMANDS as TRAINING
from metabench.settings import registry
from metabench.settings.errors import Misuse

ENVIRONMENT = 4  # exit code: the machine broke underneath (disk full, out of memory)

EPILOG = "Exit codes: 0 done, 2 change the command or a path, 4 the environment broke underneath."


class Commands(click.Group):
    """A group that turns misuse into one sentence and a documented exit code."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; misuse exits with 2, a broken environment with 4."""
        try:
            return super().invoke(ctx)
        except Misuse as error:
            raise click.UsageError(str(error)) from error
        except BrokenPipeError:  # `metabench ... | head`: click knows what to do
            raise
        except (OSError, MemoryError, RuntimeError) as error:
            # torch says that it can't allocate by a RuntimeError; any other is a fault of ours
            if isinstance(error, RuntimeError) and "allocate" not in str(error):
                raise
            click.echo(f"Error: {error}. Nothing that was saved before is lost.", err=True)
            ctx.exit(ENVIRONMENT)


@click.group(cls=Commands, epilog=EPILOG, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(metabench.__version__)
def main() -> None:
    """Why is my meta-gradient noisy, exploding, biased or slow, and what should I change?

    Start with `metabench variance --algo maml`.
    """


def measuring(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options that every probe has."""
    options = [
        click.option("--algo", default="maml", show_default=True,
                     help="Algorithm, or FILE.py:NAME of a BlackBox."),
        click.option("--family", default="sinusoid", show_default=True, help="Task family."),
        click.option("--problem", metavar="FILE.py:NAME",
                     help="Your own family, or Own(problem, sample), from a file."),
        click.option("--theta", metavar="FILE", default="",
                     help="Trained theta: .pt or .safetensors"),
        click.option("--tasks", type=int, help="Fresh tasks to draw.  [default: the family's]"),
        click.option("--seed", type=int, default=0, show_default=True, help="Seed of every draw."),
        click.option("--device", default="cpu", show_default=True, help="cpu, cuda or cuda:N."),
        click.option("--dtype", default="float32", show_default=True, help="float32 or float64."),
        click.option("--set", "assignments", multiple=True, metavar="KEY=VALUE",
                     help="A field of algo, family, probe or lift, e.g. algo.steps=5."),
        click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout."),
        click.option("--html", type=click.Path(path_type=Path), help="Write the page here."),
        click.option("--csv", type=click.Path(path_type=Path), help="Write the tidy table here."),
        click.option("--quiet", is_flag=True, help="No progress."),
    ]  # fmt: skip
    for option in reversed(options):
        command = option(command)
    return command


@main.command(epilog=EPILOG)
@measuring
@click.option(
    "--budget",
    metavar="AMOUNT",
    help="Advise on what one meta-gradient may take: 20ms, 30s or 200tasks.",
)
@click.option(
    "--memory",
    metavar="BYTES",
    help="What may be held, e.g. 4GiB.  [default: half of what is free]",
)
def variance(budget: str | None, memory: str | None, **options: Any) -> None:
    """Measure how noisy the meta-gradient is, and at which batch size signal equals noise."""
    from metabench.cli.probe.run import run

    named = [f"probe.{key}={value}" for key, value in (("budget", budget), ("memory", memory))
             if value is not None]  # fmt: skip
    run("variance", **{**options, "assignments": (*named, *options["assignments"])})


@main.command(epilog=EPILOG)
@measuring
def verify(**options: Any) -> None:
    """Check that the meta-gradient is right: finite differences, loop, symmetry, repeat."""
    from metabench.cli.probe.run import run

    run("verify", **options)


@main.command(epilog=EPILOG)
@measuring
def agreement(**options: Any) -> None:
    """Compare unrolled, implicit and first-order meta-gradients: how close, at what cost, why?"""
    from metabench.cli.probe.run import run

    run("agreement", **options)


@main.command(epilog=EPILOG)
@measuring
def constants(**options: Any) -> None:
    """Hold the convergence theory of MAML against what is measured: constants, bounds, slack."""
    from metabench.cli.probe.run import run

    run("constants", **options)


@main.command(epilog=EPILOG)
@measuring
def cost(**options: Any) -> None:
    """Price every algorithm's meta-gradient, and say who buys the smallest error for it."""
    from metabench.cli.probe.run import run

    run("cost", **options)


@main.command(epilog=EPILOG)
@measuring
def explosion(**options: Any) -> None:
    """Walk long inner loops: does the meta-gradient explode or vanish, where, and why?"""
    from metabench.cli.probe.run import run

    run("explosion", **options)


@main.command(epilog=EPILOG)
@click.argument(
    "sources",
    nargs=-1,
    required=True,
    metavar="STUDY|TABLE|RUN...",
    type=click.Path(path_type=Path),
)
@click.option(
    "-o",
    "--html",
    "page",
    default="page.html",
    show_default=True,
    type=click.Path(path_type=Path),
    help="Write the page here.",
)
@click.option(
    "--table",
    type=click.Path(path_type=Path),
    help="Write all that the page shows as one tidy table: .csv or .parquet.",
)
@click.option(
    "--store",
    type=click.Path(path_type=Path),
    help="Folder of a study's results.  [default: metabench-runs/<study's name>]",
)
@click.option(
    "--export",
    type=click.Path(path_type=Path, file_okay=False),
    help="Write every figure (.svg, .csv) and table (.tex) into this folder too.",
)
@click.option(
    "--figures",
    "most",
    type=click.IntRange(0),
    default=12,
    show_default=True,
    help="Most figures on the page.",
)
def report(page: Path, **options: Any) -> None:
    """Make one offline page of studies, tables (.csv, .parquet) and runs: findings first.

    It needs no torch: a page can be made on a machine that has only the tables.
    """
    from metabench.cli.report.sources import report

    report(page=page, **options)
    click.echo(f"page   {page}")


@main.command(epilog=EPILOG)
@measuring
def spectrum(**options: Any) -> None:
    """Measure the curvature of the losses, and whether the rates are past its edge."""
    from metabench.cli.probe.run import run

    run("spectrum", **options)


@main.command(epilog=EPILOG)
@click.argument("member", metavar="MEMBER")
@click.option("--problem", metavar="FILE.py:NAME", help="Hold an algorithm or BlackBox on this.")
def contract(member: str, problem: str | None) -> None:
    """Hold a member to its kind's contract: a listed name, my_pkg:MyThing or my.py:mine."""
    from metabench.testing.check_member import hold

    click.echo(hold(member, problem))


@main.command("list", epilog=EPILOG)
@click.argument("name", required=False)
def list_members(name: str | None) -> None:
    """Show every algorithm, family, probe and step; with a NAME, its fields, units, defaults."""
    if name is None:
        _list_all()
    else:
        _list_one(name)


def _list_all() -> None:
    for kind in registry.KINDS:
        click.secho(kind, bold=True)
        for name, target in registry.members(kind).items():
            about = registry.describe(target)
            click.echo(f"  {name:<10} {about.summary}")
            if about.reference:
                click.secho(f"  {'':<10} {about.reference}", dim=True)
    click.echo("\nFields of one: metabench list NAME")


def _list_one(name: str) -> None:
    from metabench.settings.field_table import fields

    kinds = [kind for kind in registry.KINDS if name in registry.members(kind)]
    if not kinds:
        from metabench.settings.errors import unknown

        raise unknown(
            "member", name, {n for kind in registry.KINDS for n in registry.members(kind)}
        )
    for kind in kinds:
        about = registry.describe(registry.members(kind)[name])
        click.secho(f"{name} ({registry.KINDS[kind][1]}): {about.summary}", bold=True)
        click.echo(about.reference)
        click.echo()
        for line in fields(kind, name):
            click.echo(line)


for _command in [*COMMANDS, *CHECKING, *TRAINING]:
    main.add_command(_command)


if __name__ == "__main__":
    sys.exit(main())
