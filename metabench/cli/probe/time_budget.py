"""The clock of a probe's command, which began with the command."""

from __future__ import annotations

import time

import click

from metabench.cli.options import BEGUN
from metabench.measurement.clock import Clock


def clock_of(seconds: float | None, waiting: int) -> Clock | None:
    """Return the clock of one of several measurements, None without a budget.

    Args:
        seconds: the budget of all, start-up included.
        waiting: measurements that have not begun, this one included.
    """
    if seconds is None:
        return None
    begun = click.get_current_context().meta.get(BEGUN, time.monotonic())
    gone = time.monotonic() - begun
    part = (seconds - gone) / waiting
    return Clock(part + (gone if waiting == 1 else 0.0), begun=begun if waiting == 1 else None)
