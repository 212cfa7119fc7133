"""The commands `status`, `compact` and `rm`, which manage a store."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import click

from metabench.cli.grid.failures import print_failures
from metabench.cli.grid.large_studies import LARGE
from metabench.cli.left_out import end_without
from metabench.cli.suggested_command import suggest
from metabench.cli.terminal import print_json
from metabench.grid.execution import part_arrays
from metabench.grid.scheduling.failed_cells import failures
from metabench.grid.scheduling.work_units import todo
from metabench.grid.study import study as studies
from metabench.grid.study.study import Study
from metabench.records.store.store import Store
from metabench.records.store.store_paths import existing_store, find_record, store_of
from metabench.records.store.tables import tables
from metabench.settings.errors import InvalidInput


def status(study: Path, store: Path | None, as_json: bool, check: bool = False) -> None:
    """Print the number of cells in each state, and the failures.

    Args:
        study: path of the study file.
        store: folder of the results; None is the default one.
        as_json: print JSON instead of text.
        check: read every record in full, also those that have not changed since they were read.

    Raises:
        SystemExit: with 3 if damaged records were left out.
    """
    if (count := studies.outlined(study).outline.size) > LARGE:
        click.echo(f"Comparing {count:,} cells with the store.", err=True)
    asked = studies.read(study)
    kept = existing_store(study, store) if store or check else store_of(study, store)
    standing = kept.require_readable().standing(known=set() if check else None)
    done = sum(standing.get(digest) == "done" for digest in asked.cells)
    failed, left = (
        failures(asked, kept, standing),
        len(todo(asked, kept, retry=False, standing=standing)),
    )
    others = len(standing.keys() - asked.cells.keys())
    suspect = standing if check else asked.cells
    broken = kept.broken(digest for digest in suspect if standing.get(digest) == "broken")
    if as_json:
        print_json({"cells": len(asked.cells), "done": done, "open": left, "failed": failed,
               "not_in_study": others, "store": str(kept.folder), "checked": check})  # fmt: skip
        end_without(broken)
        return
    click.echo(
        f"cells  {len(asked.cells):,}: {done:,} done, {left:,} to go, {len(failed):,} failed"
    )
    _print_parts(asked, kept, standing)
    print_failures(failed)
    click.echo(
        f"store  {kept.folder}" + (f", with {others:,} cells of other studies" * bool(others))
    )
    if check:
        click.echo(f"check  {len(standing):,} records read in full, {len(broken):,} damaged")
    click.echo(f"next   {suggest('grid' if left else 'show')}")
    end_without(broken)


def _print_parts(study: Study, store: Store, standing: Mapping[str, str]) -> None:
    """Print the number of measured parts of each split cell that is not done."""
    for digest in (digest for digest in study.cells if standing.get(digest) != "done"):
        split = study.cells.kind(digest).split
        there = split - len(part_arrays.missing(store, digest, split)) if split > 1 else 0
        if there:
            click.echo(f"  {digest}  parts {there} of {split} measured")


def compact(study: Path, store: Path | None, as_json: bool) -> None:
    """Write the Parquet snapshot of a study's store.

    Args:
        study: path of the study file.
        store: folder of the results; None is the default one.
        as_json: print JSON instead of text.

    Raises:
        SystemExit: with 3 if damaged records were left out.
    """
    from metabench.records.store.parquet_snapshot import require_pyarrow, write_snapshot

    require_pyarrow()
    kept = existing_store(study, store).open()
    standing = kept.standing()
    done = [digest for digest, state in standing.items() if state == "done"]
    broken = kept.broken(digest for digest, state in standing.items() if state == "broken")
    result = tables(kept, done)
    write_snapshot(kept.folder, result.cells, result.rows)
    if as_json:
        print_json({"cells": len(result.cells), "rows": len(result.rows), "broken": broken})
    else:
        click.echo(f"{len(result.cells):,} cells, {len(result.rows):,} numbers in {kept.folder}")
    end_without(broken)


def rm(
    study: Path, digests: tuple[str, ...], failed: bool, store: Path | None, as_json: bool
) -> None:
    """Remove the records of some cells.

    Args:
        study: path of the study file.
        digests: first digits of the cells' digests.
        failed: remove all failed cells.
        store: folder of the results; None is the default one.
        as_json: print JSON instead of text.

    Raises:
        InvalidInput: if no cells are given, or there is no such cell.
    """
    if not digests and not failed:
        raise InvalidInput("Give digests of the cells to remove, or --failed for all failed ones.")
    kept = existing_store(study, store).open()
    chosen = {find_record(digest, kept.folder)["digest"] for digest in digests}
    if failed:
        chosen |= {line["digest"] for line in failures(studies.read(study), kept)}
    removed = sorted(digest for digest in chosen if kept.remove(digest))
    if as_json:
        print_json({"removed": removed})
    else:
        click.echo(f"{len(removed):,} cells removed; {suggest('grid')} measures them again")
