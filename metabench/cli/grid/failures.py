"""Failed cells as text, one line each."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import click

from metabench.cli.suggested_command import suggest

MOST_FAILURES_LISTED = 20


def print_failures(failed: Collection[Mapping[str, Any]]) -> None:
    """Print one line for each failed cell, up to a limit."""
    for line in list(failed)[:MOST_FAILURES_LISTED]:
        click.echo(
            f"  {line['digest']}  {line['status']:<8}  {line['error'].splitlines()[0][:120]}"
        )
    if len(failed) > MOST_FAILURES_LISTED:
        click.echo(
            f"  ... and {len(failed) - MOST_FAILURES_LISTED:,} more: "
            f"{suggest('status', {'as_json': True})}"
        )
