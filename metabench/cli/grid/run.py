"""The commands that measure: grid and worker, and cell, which records nothing."""

from __future__ import annotations

import traceback
from pathlib import Path
from typing import Any

import click

from metabench.cli.exit_codes import FAILED, INTERRUPTED
from metabench.cli.grid.failures import print_failures
from metabench.cli.grid.progress_bar import watching
from metabench.cli.terminal import print_json
from metabench.grid.execution.executors.choose import make_engine
from metabench.grid.scheduling.failed_cells import failures
from metabench.grid.scheduling.progress_counts import Tally
from metabench.grid.scheduling.scheduler import drive
from metabench.grid.scheduling.work_units import shard, todo, units
from metabench.grid.study import study as studies
from metabench.records.rows import status_of
from metabench.records.store.store import Store
from metabench.records.store.store_paths import found, store_of


def grid(
    study: Path,
    share: str,
    engine: str,
    workers: int,
    per_gpu: int,
    threads: int,
    retry: bool,
    quiet: bool,
    store: Path | None,
    as_json: bool,
) -> None:
    """Measure the open cells of a share, and sum up; exit with 3 if cells of it failed."""
    asked, kept = studies.read(study), store_of(study, store).open()
    mine = set(shard(units(asked), share))
    held = {unit.digest for unit in mine}
    asked = asked._replace(cells={d: cell for d, cell in asked.cells.items() if d in held})
    started = make_engine(engine, asked, workers, per_gpu, threads)
    with watching(f"{study}", quiet) as watch:
        tally = drive(asked, kept, started, todo(asked, kept, retry), watch, mine)
    failed = failures(asked, kept)
    (_say_json if as_json else _say)(study, kept, tally, failed)
    if tally.interrupted:
        raise SystemExit(INTERRUPTED)
    if failed:
        raise SystemExit(FAILED)


def cell(digest: str, store: Path | None, as_json: bool) -> None:
    """Measure a cell on record once more, here; what it raises is shown whole, and exits with 3."""
    from metabench.cli.grid.show import show_cell
    from metabench.measurement.measurement import Cell

    record = found(digest, store)
    made = Cell.of(record["settings"])
    made.require_device()
    try:
        rows = [row._asdict() for row in made.measure()]
    except Exception:  # whatever a cell may raise
        traceback.print_exc()
        raise SystemExit(FAILED) from None
    show_cell(
        {**record, "status": status_of(rows), "rows": rows, "error": "", "traceback": ""}, as_json
    )


def _say(study: Path, store: Store, tally: Tally, failed: list[dict[str, Any]]) -> None:
    click.echo(f"cells  {tally}")
    if failed:
        click.echo(f"failed {len(failed):,}")
        print_failures(failed)
        click.echo(f"again  metabench cell {failed[0]['digest']}   (one, in the foreground)")
        click.echo(f"       metabench grid {study} --retry   (all that failed)")
    click.echo(f"store  {store.folder}")
    if tally.interrupted:
        click.echo(f"Interrupted; nothing is lost. Go on with: metabench grid {study}")
    else:
        click.echo(f"next   metabench show {study}")


def _say_json(study: Path, store: Store, tally: Tally, failed: list[dict[str, Any]]) -> None:
    print_json({
        "study": str(study),
        "store": str(store.folder),
        "done": tally.done,
        "open": tally.to_go,
        "failed": failed,
        "interrupted": tally.interrupted,
    })  # fmt: skip
