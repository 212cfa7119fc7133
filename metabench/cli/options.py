"""Options that several commands share; a command passes its own help text where it differs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from metabench.cli import completion
from metabench.cli.config_option import config, with_config
from metabench.cli.theta_option import thetas

Command = Callable[..., Any]
Decorator = Callable[[Command], Command]


class Output(click.Path):
    """A file or folder that a command writes; every other path is read."""


FILE = click.Path(path_type=Path)
OUTPUT = Output(path_type=Path)
BEGUN = "metabench.begun"  # key in a context's meta: time.monotonic() as the command began


def algo(
    about: str = "Algorithm (metabench list), or FILE.py:NAME of a BlackBox.", default: str = "maml"
) -> Decorator:
    """Add `--algo`."""
    return click.option(
        "--algo", default=default, show_default=bool(default), help=about,
        shell_complete=completion.members("algorithms"),
    )  # fmt: skip


def family(command: Command) -> Command:
    """Add `--family`."""
    named = click.option(
        "--family", default="sinusoid", show_default=True, help="Task family (metabench list).",
        shell_complete=completion.members("families"),
    )  # fmt: skip
    return named(command)


def problem(
    about: str = "Your own Family, or Problem with tasks; replaces --family.",
) -> Decorator:
    """Add `--problem`, a user-defined problem or family."""
    return click.option("--problem", metavar="FILE.py:NAME", help=about)


def tasks(about: str = "Number of tasks to draw.") -> Decorator:
    """Add `--tasks`, the number of tasks to draw."""
    return click.option("--tasks", type=int, help=f"{about}  [default: the family's]")


def probes(about: str) -> Decorator:
    """Add `--probe`, names of probes separated by commas."""
    return click.option(
        "--probe", default="", metavar="NAMES", help=about,
        shell_complete=completion.members("probes"),
    )  # fmt: skip


def arithmetic(command: Command) -> Command:
    """Add `--seed`, `--device` and `--dtype`."""
    return together(
        click.option(
            "--seed", type=int, default=0, show_default=True, help="Seed of all random draws."
        ),
        click.option(
            "--device", default="cpu", show_default=True, help="Device: cpu, cuda or cuda:N."
        ),
        click.option(
            "--dtype",
            default="float32",
            show_default=True,
            help="Floating-point type: float32 or float64.",
        ),
    )(command)


def settings(about: str) -> Decorator:
    """Add `--set KEY=VALUE`, which can be repeated, and `--config`, a file of them."""
    given = click.option(
        "--set", "assignments", multiple=True, metavar="KEY=VALUE", callback=with_config,
        help=about, shell_complete=completion.settings,
    )  # fmt: skip
    return together(given, config)


def json(command: Command) -> Command:
    """Add `--json`."""
    return click.option("--json", "as_json", is_flag=True, help="Print one JSON object on stdout.")(
        command
    )


def fail_on(command: Command) -> Command:
    """Add `--fail-on`, the severity of findings that makes the exit code 1."""
    return click.option(
        "--fail-on",
        type=click.Choice(("not_looked_at", "undecided", "warning", "critical")),
        help="Exit with 1 if there is a finding of this kind, or of a later kind in the list.",
    )(command)


def budget(command: Command) -> Command:
    """Add `--budget`, a limit of the total time."""
    return click.option(
        "--budget",
        metavar="TIME",
        help="Limit of the total time: 30s, 3m, 1h. Fewer tasks are then drawn, as the output "
        "says.  [default: none]",
    )(command)


def quiet(command: Command) -> Command:
    """Add `--quiet`."""
    return click.option("--quiet", is_flag=True, help="Show no progress.")(command)


def verbose(command: Command) -> Command:
    """Add `--verbose`, for everything that the page shows."""
    about = "Print all findings in full, all tables and the meaning of every term."
    return click.option("--verbose", is_flag=True, help=about)(command)


def results(command: Command) -> Command:
    """Add `--json`, `--html`, `--csv` and `--quiet`."""
    return together(
        json,
        click.option("--html", type=OUTPUT, help="File to write the HTML page to."),
        click.option("--csv", type=OUTPUT, help="File to write the tidy table to."),
        quiet,
    )(command)


def store(about: str) -> Decorator:
    """Add `--store`, the folder of a study's results."""
    return click.option("--store", type=FILE, help=about)


def trust(command: Command) -> Command:
    """Add `--trust`, which allows code that a table or record names to run."""
    return click.option(
        "--trust", "trusted", multiple=True, metavar="FILE.py:NAME", help="Allow the "
        "code of this member to run, which a table or record names.",
    )(command)  # fmt: skip


def together(*options: Decorator) -> Decorator:
    """Return a decorator that adds several options; the help lists them in this order."""

    def decorate(command: Command) -> Command:
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


measuring = together(
    algo(),
    family,
    problem(),
    thetas,
    tasks(),
    arithmetic,
    settings("Set a field of algo, family, probe or compute: algo.steps=5."),
    budget,
    results,
    verbose,
    fail_on,
)
