"""Studies of very many cells: their plan without making them, and leave to measure them."""

from __future__ import annotations

from pathlib import Path

import click

from metabench.cli.left_out import warn
from metabench.cli.suggested_command import suggest
from metabench.cli.terminal import print_json
from metabench.grid.execution.executors.inline import Inline
from metabench.grid.scheduling.progress_counts import duration
from metabench.grid.scheduling.scheduler import drive
from metabench.grid.scheduling.time_forecast import Forecast, forecast
from metabench.grid.scheduling.work_units import todo
from metabench.grid.study import study as studies
from metabench.grid.study.study import Outlined, Study
from metabench.records.store.store import Store
from metabench.settings.errors import InvalidInput
from metabench.settings.interrupts import interrupt

LARGE = 100_000  # cells; above, `plan` makes none and `grid` asks for --yes


def require_leave(study: Path, yes: bool) -> None:
    """Refuse to measure a very large study unless the user has said so.

    Args:
        study: path of the study file.
        yes: whether the user has.

    Raises:
        InvalidInput: if it is large and the user has not.
    """
    count = studies.outlined(study).outline.size
    if count > LARGE and not yes:
        raise InvalidInput(
            f"{study} has {count:,} cells. Add --yes to measure them all, or shorten its axes; "
            f"{suggest('plan')} lists them."
        )


def measure_first(study: Study, store: Store, cells: int) -> None:
    """Measure some open cells in this process, to base a forecast on.

    Args:
        study: the study.
        store: the store of its results, which is made if there is none.
        cells: the number of cells.

    Raises:
        KeyboardInterrupt: after a signal, once the running cell has ended.
    """
    few = todo(study, store.open(), retry=False)[:cells]
    warn(store.set_aside(few))
    tally = drive(study, store, Inline(), few, lambda tally: None)
    if tally.interrupted:
        stopped = interrupt(tally.by)
        stopped.add_note("The cells that were measured are kept.")
        raise stopped


def plan_outline(outlined: Outlined, store: Store, measure: int, as_json: bool) -> None:
    """Print the number of cells, the axes and the forecast of a large study.

    Args:
        outlined: the study.
        store: the store of its results.
        measure: number of cells to measure first, a random sample.
        as_json: print JSON instead of text.
    """
    if measure:
        measure_first(outlined.sample(measure), store, measure)
    count, axes = outlined.outline.size, outlined.outline.lengths
    done = [digest for digest, state in store.standing().items() if state == "done"]
    expected = forecast(store, done)
    if as_json:
        print_json({
            "study": str(outlined.path),
            "store": str(store.folder),
            "count": count,
            "axes": axes,
            "done": len(done),
            "forecast": expected and expected._asdict(),
        })  # fmt: skip
        return
    for name, lengths in axes.items():
        click.echo(f"axis   {name}: {' or '.join(f'{n:,}' for n in lengths)} values")
    out = ", before exclusions" if outlined.data.get("exclude") else ""
    click.echo(f"\ncells  {count:,}{out}; {len(done):,} done in {store.folder}")
    click.echo(f"time   {expected_text(expected, max(count - len(done), 0))}")
    click.echo(f"next   {suggest('grid', {'yes': True})}")


def expected_text(expected: Forecast | None, cells: int) -> str:
    """Return the forecast of open cells as text.

    Args:
        expected: of one cell; None: unknown.
        cells: the number of open cells.
    """
    if expected is None:
        return "unknown; --measure 5 measures a few cells first, and keeps them"
    total, low, high = (duration(seconds) for seconds in expected.total(cells))
    memory = f"{expected.peak_bytes / 2**30:.2g} GiB at most in one"
    each = f"{expected.seconds:.2g} s per cell, from {expected.cells} measured cells"
    return f"{total} [{low}, {high}] of one worker ({each}); {memory}"
