"""Progress bar of a grid, shown if stderr is a terminal."""

from __future__ import annotations

import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager

from metabench.grid.scheduling.progress_counts import Tally


@contextmanager
def watching(label: str, quiet: bool) -> Generator[Callable[[Tally], None]]:
    """Show a bar with rate, remaining time and failures on stderr, if that is a terminal."""
    if quiet or not sys.stderr.isatty():
        yield lambda tally: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn

    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[counts]}"))
    with Progress(*columns, console=Console(stderr=True)) as bar:
        shown = bar.add_task(label, total=None, counts="starting")

        def watch(tally: Tally) -> None:
            total = tally.done + tally.to_go + len(tally.failed)
            bar.update(shown, completed=total - tally.to_go, total=total, counts=str(tally))

        yield watch
