"""The commands that look at members: which there are, what they hold, whether they keep to it."""

from __future__ import annotations

import click

from metabench.cli import exit_codes, options
from metabench.settings import member_source, registry


@click.command("list", epilog=exit_codes.EPILOG)
@click.argument("name", required=False)
def list_members(name: str | None) -> None:
    """Show every algorithm, family, probe and step; with a NAME, its fields, units, defaults."""
    if name is None:
        _list_all()
    else:
        _list_one(name)


@click.command(epilog=exit_codes.EPILOG)
@click.argument("member", metavar="MEMBER")
@options.problem("Hold an algorithm or BlackBox on this.")
def contract(member: str, problem: str | None) -> None:
    """Hold a member to its kind's contract: a listed name, my_pkg:MyThing or my.py:mine."""
    from metabench.testing.check_member import check_member

    click.echo(check_member(member, problem))


def _list_all() -> None:
    for kind in registry.KINDS:
        click.secho(kind, bold=True)
        for name, target in registry.members(kind).items():
            about = member_source.describe(target)
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
        about = member_source.describe(registry.members(kind)[name])
        click.secho(f"{name} ({registry.KINDS[kind][1]}): {about.summary}", bold=True)
        click.echo(about.reference)
        click.echo()
        for line in fields(kind, name):
            click.echo(line)


COMMANDS = (list_members, contract)
