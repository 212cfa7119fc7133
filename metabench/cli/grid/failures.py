"""The cells that failed, a line each."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import click

LISTED = 20  # failed cells named one by one


def print_failures(failed: Collection[Mapping[str, Any]]) -> None:
    """Print a line for each failed cell, as far as they can be read."""
    for line in list(failed)[:LISTED]:
        click.echo(
            f"  {line['digest']}  {line['status']:<8}  {line['error'].splitlines()[0][:120]}"
        )
    if len(failed) > LISTED:
        click.echo(f"  ... and {len(failed) - LISTED:,} more: metabench status --json")
