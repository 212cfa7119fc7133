"""What a command says that went on without some records, and how it ends."""

from __future__ import annotations

from collections.abc import Iterable

import click

from metabench.cli.exit_codes import LEFT_OUT

LISTED = 20  # records named one by one


def warn(broken: Iterable[str]) -> None:
    """Say on stderr which records aren't what was written."""
    said = list(broken)
    for sentence in said[:LISTED]:
        click.echo(f"Warning: {sentence}", err=True)
    if len(said) > LISTED:
        click.echo(f"Warning: ... and {len(said) - LISTED:,} more.", err=True)


def end_without(broken: Iterable[str]) -> None:
    """Say which records were left out, and exit with 3 if any were.

    Raises:
        SystemExit: if any were.
    """
    said = list(broken)
    warn(said)
    if said:
        raise SystemExit(LEFT_OUT)
