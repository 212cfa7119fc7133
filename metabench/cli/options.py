"""The options that several commands share, each defined once; a command says what differs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

Command = Callable[..., Any]
Decorator = Callable[[Command], Command]

FILE = click.Path(path_type=Path)


def algo(
    about: str = "Algorithm, or FILE.py:NAME of a BlackBox.", default: str = "maml"
) -> Decorator:
    """Ask for the algorithm."""
    return click.option("--algo", default=default, show_default=bool(default), help=about)


def family(command: Command) -> Command:
    """Ask for the task family."""
    named = click.option("--family", default="sinusoid", show_default=True, help="Task family.")
    return named(command)


def problem(about: str = "Your own Family, or Problem with tasks, from a file.") -> Decorator:
    """Ask for a problem of one's own."""
    return click.option("--problem", metavar="FILE.py:NAME", help=about)


def theta(about: str = "Trained theta: .pt or .safetensors") -> Decorator:
    """Ask for a theta other than the initial one."""
    return click.option("--theta", metavar="FILE", default="", help=about)


def tasks(about: str = "Fresh tasks to draw.") -> Decorator:
    """Ask how many tasks to draw."""
    return click.option("--tasks", type=int, help=f"{about}  [default: the family's]")


def probes(about: str) -> Decorator:
    """Ask for several probes by name."""
    return click.option("--probe", default="", metavar="NAMES", help=about)


def arithmetic(command: Command) -> Command:
    """Ask with which random numbers, where and how precisely to compute."""
    return together(
        click.option("--seed", type=int, default=0, show_default=True, help="Seed of every draw."),
        click.option("--device", default="cpu", show_default=True, help="cpu, cuda or cuda:N."),
        click.option("--dtype", default="float32", show_default=True, help="float32 or float64."),
    )(command)


def settings(about: str) -> Decorator:
    """Ask for fields of what is named, one assignment each."""
    return click.option("--set", "assignments", multiple=True, metavar="KEY=VALUE", help=about)


def json(command: Command) -> Command:
    """Ask for the result as a program reads it."""
    return click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout.")(
        command
    )


def quiet(command: Command) -> Command:
    """Ask for silence while it works."""
    return click.option("--quiet", is_flag=True, help="No progress.")(command)


def verbose(command: Command) -> Command:
    """Ask for the meaning of every term that is printed."""
    return click.option("--verbose", is_flag=True, help="Explain every term that is printed.")(
        command
    )


def results(command: Command) -> Command:
    """Ask where results go, and how much is said."""
    return together(
        json,
        click.option("--html", type=FILE, help="Write the page here."),
        click.option("--csv", type=FILE, help="Write the tidy table here."),
        quiet,
    )(command)


def store(about: str) -> Decorator:
    """Ask for the folder of a study's results."""
    return click.option("--store", type=FILE, help=about)


def trust(command: Command) -> Command:
    """Ask whose code may run though only data names it."""
    return click.option(
        "--trust", "trusted", multiple=True, metavar="FILE.py:NAME", help="A probe of your own "
        "that tables or records name: its code is run.",
    )(command)  # fmt: skip


def together(*options: Decorator) -> Decorator:
    """Give a command several options, which its help lists in this order."""

    def decorate(command: Command) -> Command:
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


measuring = together(
    algo(),
    family,
    problem(),
    theta(),
    tasks(),
    arithmetic,
    settings("A field of algo, family, probe or compute, e.g. algo.steps=5."),
    results,
    verbose,
)
