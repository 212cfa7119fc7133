"""The commands that measure cells: `grid`, `worker`, and `cell`, which records nothing."""

from __future__ import annotations

import signal
import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from metabench.cli.exit_codes import FAILED, INTERRUPTED, TERMINATED
from metabench.cli.grid.failures import print_failures
from metabench.cli.grid.large_studies import require_leave
from metabench.cli.grid.progress_bar import watching
from metabench.cli.grid.slurm import leave_job, submission
from metabench.cli.left_out import warn
from metabench.cli.suggested_command import again, suggest
from metabench.cli.terminal import print_json
from metabench.grid.execution.executors.choose import make_executor
from metabench.grid.scheduling.failed_cells import failures
from metabench.grid.scheduling.progress_counts import Tally
from metabench.grid.scheduling.scheduler import drive
from metabench.grid.scheduling.work_units import WHOLE_STUDY, Unit, part_of, todo, units
from metabench.grid.study import study as studies
from metabench.grid.study.study import Study
from metabench.records.record import compose
from metabench.records.store.store import Store
from metabench.records.store.store_paths import find_record, store_of
from metabench.settings.trust import members_of_study, named_in, require_named, trusted_settings


def grid(
    study: Path,
    part: str,
    executor: str,
    workers: int,
    per_gpu: int,
    threads: int,
    retry: bool,
    quiet: bool,
    store: Path | None,
    as_json: bool,
    sbatch: Path | None = None,
    yes: bool = True,
) -> None:
    """Measure the open cells of a part of a study, and print a summary.

    Args:
        study: path of the study file.
        part: `i/N`, the part of the cells to measure.
        executor: inline, pool or ray.
        workers: CPU cells at once; 0 is the number of cores.
        per_gpu: GPU cells at once on each GPU.
        threads: threads per cell.
        retry: measure failed cells again, too.
        quiet: show no progress.
        store: folder of the results; None is the default one.
        as_json: print JSON instead of text.
        sbatch: script of this Slurm job; None outside of one that `metabench slurm` wrote.
        yes: measure a very large study, too.

    Raises:
        SystemExit: with 3 if cells failed, with 130 or 143 if it was interrupted.
    """
    require_leave(study, yes)
    asked, kept = studies.read(study), store_of(study, store).open()
    asked, mine = _part(asked, part)
    standing = kept.standing()
    lost = _set_aside(asked, kept, standing)
    warn(lost)
    started = make_executor(executor, asked, workers, per_gpu, threads)
    with watching(f"{study}", quiet) as watch:
        chosen = todo(asked, kept, retry, standing)
        tally = drive(asked, kept, started, chosen, watch, mine, standing)
    failed = failures(asked, kept, None if tally.ended or lost else standing)
    if as_json:
        _print_json(study, kept, tally, failed)
    else:
        _print_summary(study, kept, tally, failed, sbatch)
    if tally.near_limit and sbatch:
        if tally.to_go:
            raise SystemExit(leave_job(tally, sbatch))
    elif tally.interrupted:
        raise SystemExit(TERMINATED if tally.by == signal.SIGTERM else INTERRUPTED)
    if failed:
        raise SystemExit(FAILED)


def _part(asked: Study, part: str) -> tuple[Study, set[Unit] | None]:
    """Return a part of a study, and its units; of all of it, none are listed."""
    if part == WHOLE_STUDY:
        return asked, None
    mine = set(part_of(units(asked), part))
    return asked._replace(cells=asked.cells.only(unit.digest for unit in mine)), mine


def _set_aside(asked: Study, kept: Store, standing: Mapping[str, str]) -> list[str]:
    """Move away damaged records of a study's cells, and say what moved."""
    broken = [digest for digest, state in standing.items() if state == "broken"]
    return kept.set_aside(digest for digest in broken if digest in asked.cells)


def cell(
    digest: str,
    store: Path | None,
    as_json: bool,
    trusted: tuple[str, ...],
    fail_on: str | None = None,
) -> None:
    """Measure a recorded cell again in this process, and print it.

    Args:
        digest: first digits of the cell's digest.
        store: folder of the results; None searches all stores.
        as_json: print JSON instead of text.
        trusted: members whose code may run besides the listed ones.
        fail_on: severity of findings that makes the exit code 1.

    Raises:
        SystemExit: with 3, after the traceback, if the cell raises.
    """
    from metabench.cli.grid.show import show_cell
    from metabench.measurement.measurement import Measurement

    record = find_record(digest, store)
    require_named(record["settings"], trusted)
    made = Measurement.from_settings(_trusted(record["settings"], trusted))
    made.require_device()
    try:
        rows = made.measure()
    except Exception:  # whatever a cell may raise
        click.echo(traceback.format_exc(), err=True)
        raise SystemExit(FAILED) from None
    more = {key: record[key] for key in ("digest", "settings", "attempts")}
    repeated = compose(record["spec"], rows, None, record["provenance"], more)
    show_cell(repeated, as_json, trusted, fail_on)


def _trusted(settings: dict[str, Any], trusted: tuple[str, ...]) -> dict[str, Any]:
    """Return a record's settings, with the names of trusted members only."""
    return {
        part: trusted_settings(value, trusted) if isinstance(value, dict) else value
        for part, value in settings.items()
    }


def _print_summary(
    study: Path, store: Store, tally: Tally, failed: list[dict[str, Any]], sbatch: Path | None
) -> None:
    click.echo(f"cells  {tally}")
    if failed:
        click.echo(f"failed {len(failed):,}")
        print_failures(failed)
        first = find_record(failed[0]["digest"], store.folder)
        named = named_in(first["settings"], members_of_study(study))
        one = {"digest": first["digest"], "trusted": named}
        click.echo(f"again  {suggest('cell', one)}   (one, in the foreground)")
        retry = {"retry": True}
        all_failed = suggest("grid", retry) if sbatch else again(retry)
        click.echo(f"       {all_failed}   (all failed cells)")
    click.echo(f"store  {store.folder}")
    if tally.near_limit:
        click.echo("Stopped by SIGUSR1, the warning of Slurm; all finished cells are kept.")
    elif tally.interrupted:
        resume = submission(sbatch) if sbatch else again()
        click.echo(f"Interrupted; all finished cells are kept. Resume with: {resume}")
    else:
        click.echo(f"next   {suggest('show')}")


def _print_json(study: Path, store: Store, tally: Tally, failed: list[dict[str, Any]]) -> None:
    print_json({
        "study": str(study),
        "store": str(store.folder),
        "done": tally.done,
        "open": tally.to_go,
        "failed": failed,
        "interrupted": tally.interrupted,
    })  # fmt: skip
