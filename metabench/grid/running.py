"""The commands that measure: plan, grid, worker, slurm, cell."""

from __future__ import annotations

import json
import traceback
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import click

from metabench import output
from metabench.grid import study as studies
from metabench.grid.drive import Tally, drive, duration, shard, todo, units
from metabench.grid.engines.engine import Engine
from metabench.grid.engines.slots import cpu_slots, gpu_slots
from metabench.grid.forecast import Forecast, forecast
from metabench.grid.progress import watching
from metabench.grid.slurm import Request, script
from metabench.grid.store import Store
from metabench.grid.study import Study
from metabench.grid.work import status_of
from metabench.misuse import Misuse, unknown

FAILED, INTERRUPTED = 3, 130  # exit codes
LISTED = 20  # failed cells named one by one
ENGINES = ("inline", "pool", "ray")


def store_of(study: Path, given: Path | None) -> Store:
    """Give the store of a study: where told, or under its name among the runs."""
    return Store(given or output.RUNS / study.stem)


def plan(study: Path, measure: int, store: Path | None, as_json: bool) -> None:
    """Print the cells, those done, and what the open ones will take."""
    asked, kept = studies.read(study), store_of(study, store).require_readable()
    if measure:
        few = todo(asked, kept.open(), retry=False)[:measure]
        drive(asked, kept, make_engine("inline", asked, 1, 1, 1), few, lambda tally: None)
    standing = kept.standing()
    states = {digest: standing.get(digest, "open") for digest in asked.cells}
    open_cells = len(todo(asked, kept, retry=False))
    expected = forecast(kept, asked.cells)
    if as_json:
        cells = [{"digest": d, "state": s, "spec": asked.cells[d].spec} for d, s in states.items()]
        _echo({"study": str(study), "store": str(kept.folder), "cells": cells, "open": open_cells,
               "forecast": expected and expected._asdict()})  # fmt: skip
        return
    _print_cells(asked, states)
    done = sum(state == "done" for state in states.values())
    click.echo(f"\ncells  {len(states):,}: {done:,} done, {open_cells:,} to go")
    click.echo(f"time   {_expected(expected, open_cells)}")
    click.echo(f"next   metabench grid {study}")


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


def slurm(
    study: Path,
    array: int,
    limit: str,
    gpus: int,
    cores: int,
    grace: int,
    output: Path | None,
    store: Path | None,
    as_json: bool,
) -> None:
    """Write the batch script of a study that can be read."""
    from metabench.output import check_writable, write

    asked = studies.read(study)
    place = output or Path(f"{study.stem}.sbatch")
    check_writable(place)
    kept = store_of(study, store).folder
    write(place, script(study, kept, Request(array, limit, gpus, cores, grace)))
    if as_json:
        _echo({"script": str(place), "cells": len(asked.cells), "jobs": array})
    else:
        click.echo(f"script {place}: {len(asked.cells):,} cells over {array} jobs")
        click.echo(f"next   sbatch {place}   then metabench status {study}")


def cell(digest: str, store: Path | None, as_json: bool) -> None:
    """Measure a cell on record once more, here; what it raises is shown whole, and exits with 3."""
    from metabench.cell import Cell
    from metabench.grid.looking import show_cell

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


def found(digest: str, folder: Path | None) -> dict[str, Any]:
    """Read the one record whose digest begins like this, in a store or in all of the runs.

    Raises:
        Misuse: if there is none, or more than one.
    """
    folders = (
        [folder] if folder else sorted(mark.parent for mark in output.RUNS.glob("*/store.json"))
    )
    hits = [(Store(place), hit) for place in folders for hit in Store(place).find(digest)]
    if not hits:
        places = ", ".join(map(str, folders)) or output.RUNS
        raise Misuse(f"No cell on record begins with {digest!r} in {places}; give --store FOLDER.")
    if len({hit for _, hit in hits}) > 1:
        raise Misuse(f"{len(hits)} cells begin with {digest!r}; give more digits.")
    (kept, whole), *_ = hits
    record = kept.require_readable().read(whole)
    assert record is not None
    return record


def make_engine(name: str, study: Study, workers: int, per_gpu: int, threads: int) -> Engine:
    """Make the engine for the devices that a study's cells ask for.

    Raises:
        Misuse: if there is no such engine, or not one device of a kind that cells need.
    """
    needed = {cell.settings["device"] for cell in study.cells.values()}
    if name == "inline":
        from metabench.grid.engines.inline import Inline

        return Inline(threads)
    if name == "ray":
        from metabench.grid.engines.ray import Ray

        return Ray(frozenset(needed), per_gpu, threads)
    if name != "pool":
        raise unknown("engine", name, ENGINES)
    from metabench.grid.engines.pool import Pool

    cpus = cpu_slots(workers, threads) if "cpu" in needed else []
    gpus = gpu_slots(per_gpu, threads) if "cuda" in needed else []
    if "cuda" in needed and not gpus:
        raise Misuse(
            "The study asks for cuda, and torch sees no GPU here. Run it where there is one "
            '(metabench slurm writes a job array), or give device = "cpu".'
        )
    return Pool((*cpus, *gpus))


def failures(study: Study, store: Store) -> list[dict[str, Any]]:
    """List the study's failed cells: digest, status, error, attempts."""
    from metabench.grid.drive import failure

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
    _echo({
        "study": str(study),
        "store": str(store.folder),
        "done": tally.done,
        "open": tally.to_go,
        "failed": failed,
        "interrupted": tally.interrupted,
    })  # fmt: skip


def _print_cells(study: Study, states: Mapping[str, str]) -> None:
    import pandas as pd

    from metabench.console import print_table
    from metabench.grid.table import said, varying
    from metabench.report.text import TextTable
    from metabench.rows import flatten

    cells = pd.DataFrame([dict(flatten(cell.spec)) for cell in study.cells.values()])
    names = varying(cells)
    lines = zip(cells[names].itertuples(index=False), states.items(), strict=True)
    table = [(digest, state, *map(said, settings)) for settings, (digest, state) in lines]
    print_table(TextTable(("cell", "state", *names), tuple(table[:LISTED])))
    if len(table) > LISTED:
        click.echo(f"... and {len(table) - LISTED:,} more: --json lists all")


def _expected(expected: Forecast | None, cells: int) -> str:
    if expected is None:
        return "unknown; --measure 5 measures a few cells first, and keeps them"
    total, low, high = (duration(seconds) for seconds in expected.total(cells))
    memory = f"{expected.peak_bytes / 2**30:.2g} GiB at most in one"
    each = f"{expected.seconds:.2g} s a cell by {expected.cells} of them"
    return f"{total} [{low}, {high}] of one worker ({each}); {memory}"


def _echo(result: Any) -> None:
    click.echo(json.dumps(result, indent=2, allow_nan=False, ensure_ascii=False))
