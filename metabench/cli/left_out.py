"""Warnings about damaged records that a command left out, and the exit code they cause."""

from __future__ import annotations

from collections.abc import Iterable

import click

from metabench.cli.exit_codes import LEFT_OUT

MOST_RECORDS_LISTED = 20


def warn(broken: Iterable[str]) -> None:
    """Print a warning on stderr for each damaged record."""
    sentences = list(broken)
    for sentence in sentences[:MOST_RECORDS_LISTED]:
        click.echo(f"Warning: {sentence}", err=True)
    if len(sentences) > MOST_RECORDS_LISTED:
        click.echo(f"Warning: ... and {len(sentences) - MOST_RECORDS_LISTED:,} more.", err=True)


def end_without(broken: Iterable[str]) -> None:
    """Print a warning for each record that was left out, and exit with 3 if there are any.

    Raises:
        SystemExit: if any were.
    """
    sentences = list(broken)
    warn(sentences)
    if sentences:
        raise SystemExit(LEFT_OUT)
