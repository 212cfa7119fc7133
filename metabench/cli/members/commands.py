"""The commands `list` and `contract`: members and settings groups, and checks of a member."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import click

from metabench.cli import completion, exit_codes, options
from metabench.settings import member_source, registry
from metabench.settings.synonyms import KIND_GROUPS


@click.command("list", epilog=exit_codes.EPILOG)
@click.argument("name", required=False, shell_complete=completion.members(*registry.KINDS))
def list_members(name: str | None) -> None:
    """List members and settings groups, or the fields of one.

    With a NAME, list its fields, types, defaults and units; with a kind, such as algorithms, that
    kind alone. Members are algorithms, families, probes, inner optimizers and solvers; settings
    groups are compute, outer, trial and study. Set a field with --set: --set compute.chunk=64.
    """
    if name is None:
        _list_all()
    else:
        _list_one(name)


@click.command(epilog=exit_codes.EPILOG)
@click.argument("member", metavar="MEMBER", shell_complete=completion.members(*registry.KINDS))
@options.problem("Problem or Family on which to check an algorithm or BlackBox.")
def contract(member: str, problem: str | None) -> None:
    """Check that a member keeps the contract of its kind.

    MEMBER is a listed name, my_pkg:MyThing or my.py:mine. The contract is a list of tests that
    every algorithm, family, probe, optimizer or solver must pass.
    """
    from metabench.testing.check_member import check_member

    click.echo(check_member(member, problem))


def _list_all() -> None:
    for kind in registry.KINDS:
        click.secho(kind, bold=True)
        _list_summaries(registry.members(kind))
    click.secho("settings groups", bold=True)
    _list_summaries(registry.GROUPS)
    click.echo("\nFields of a member or group: metabench list NAME")


def _list_summaries(targets: dict[str, str]) -> None:
    """Print the summary and the reference of each class."""
    for name, target in targets.items():
        about = member_source.describe(target)
        click.echo(f"  {name:<10} {about.summary}")
        if about.reference:
            click.secho(f"  {'':<10} {about.reference}", dim=True)


def _list_one(name: str) -> None:
    from metabench.settings.field_table import fields_of

    kinds = [kind for kind in registry.KINDS if name in registry.members(kind)]
    found: list[tuple[str, str, Callable[[str], type[Any]]]] = [
        (registry.KINDS[kind][1], registry.members(kind)[name], partial(registry.load_listed, kind))
        for kind in kinds
    ]
    if not found and name in registry.GROUPS:
        target = registry.GROUPS[name]
        found = [("settings group", target, lambda _: registry.load_target(target))]
    if not found:
        _list_kind(name)
    for word, target, load in found:
        about = member_source.describe(target)
        click.secho(f"{name} ({word}): {about.summary}", bold=True)
        click.echo(f"{about.reference}\n".lstrip("\n"))
        for line in fields_of(load(name)):
            click.echo(line.rstrip())


def _list_kind(group: str) -> None:
    """Print the members of a kind, `algorithms` or its settings group `algo`."""
    if group in registry.KINDS:
        _list_summaries(registry.members(group))
        return
    kind = next((kind for kind, key in KIND_GROUPS.items() if key == group), None)
    if kind is None:
        from metabench.settings.errors import unknown

        names = {name for kind in registry.KINDS for name in registry.members(kind)}
        raise unknown("member or settings group", group, {*names, *registry.GROUPS})
    word = registry.KINDS[kind][1]
    click.secho(f"{group} (settings group): fields of the chosen {word}.\n", bold=True)
    _list_summaries(registry.members(kind))
    click.echo(f"\nFields of a member: metabench list {next(iter(registry.members(kind)))}")


COMMANDS = (list_members, contract)
