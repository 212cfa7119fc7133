"""Which cells failed, and why?"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import click

from metabench.grid.scheduling.work_units import failure
from metabench.grid.study.study import Study
from metabench.records.store.store import Store

LISTED = 20  # failed cells named one by one


def failures(study: Study, store: Store) -> list[dict[str, Any]]:
    """List the study's failed cells: digest, status, error, attempts."""
    states = store.standing()
    bad = [digest for digest in study.cells if states.get(digest) in ("failed", "broken")]
    keys = ("digest", "status", "error")
    records = ((digest, failure(store, digest)) for digest in bad)
    return [
        {
            **{key: record.get(key, digest) for key in keys},
            "attempts": len(record.get("attempts", [])),
        }
        for digest, record in records
    ]


def print_failures(failed: Collection[Mapping[str, Any]]) -> None:
    """Print a line for each failed cell, as far as they can be read."""
    for line in list(failed)[:LISTED]:
        click.echo(
            f"  {line['digest']}  {line['status']:<8}  {line['error'].splitlines()[0][:120]}"
        )
    if len(failed) > LISTED:
        click.echo(f"  ... and {len(failed) - LISTED:,} more: metabench status --json")
