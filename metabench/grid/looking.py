"""The commands that look at a store: status, show, compact, compare, rm."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from metabench import output
from metabench.grid import shards
from metabench.grid import study as studies
from metabench.grid.drive import todo
from metabench.grid.running import failures, found, print_failures, store_of
from metabench.grid.store import Store
from metabench.grid.table import Tables, said, tables, tidy, varying
from metabench.misuse import Misuse
from metabench.rows import Row, from_table

if TYPE_CHECKING:
    import pandas as pd

SHOWN = 40  # cells printed; --csv writes all


def status(study: Path, store: Path | None, as_json: bool) -> None:
    """Print how many cells are in which state, and the failures."""
    asked, kept = studies.read(study), store_of(study, store).require_readable()
    standing = kept.standing()
    done = sum(standing.get(digest) == "done" for digest in asked.cells)
    failed, left = failures(asked, kept), len(todo(asked, kept, retry=False))
    others = len(standing.keys() - asked.cells.keys())
    if as_json:
        _echo({"cells": len(asked.cells), "done": done, "open": left, "failed": failed,
               "not_in_study": others, "store": str(kept.folder)})  # fmt: skip
        return
    click.echo(
        f"cells  {len(asked.cells):,}: {done:,} done, {left:,} to go, {len(failed):,} failed"
    )
    cut = (c for d, c in asked.cells.items() if c.shards > 1 and standing.get(d) != "done")
    for cell in cut:
        there = cell.shards - len(shards.missing(kept, cell.digest, cell.shards))
        if there:
            click.echo(f"  {cell.digest}  shares {there} of {cell.shards} measured")
    print_failures(failed)
    click.echo(
        f"store  {kept.folder}" + (f", with {others:,} cells of other studies" * bool(others))
    )
    click.echo(f"next   metabench {'grid' if left else 'show'} {study}")


def show(
    study: Path, digest: str | None, csv: Path | None, store: Path | None, as_json: bool
) -> None:
    """Print a study's results, a cell a line, or one cell in full."""
    kept = store_of(study, store).require_readable()
    if digest is not None:
        show_cell(found(digest, kept.folder), as_json)
        return
    if csv is not None:
        output.check_writable(csv)
    asked = studies.read(study)
    result = tables(kept, asked.cells)
    if not len(result.cells):
        raise Misuse(f"Nothing is measured yet; run metabench grid {study}.")
    for sentence in result.broken:
        click.echo(f"Warning: {sentence}", err=True)
    if csv is not None:
        output.write(csv, output.to_csv(tidy(result)))
    if as_json:
        _echo(_plain(tidy(result)))
    else:
        _print_cells(result)


def show_cell(record: Mapping[str, Any], as_json: bool) -> None:
    """Print one record: its numbers and findings, or why there are none."""
    if as_json:
        _echo(record)
        return
    names = f"{record['spec']['algo']['name']} on {record['spec']['family']['name']}"
    click.echo(f"{record['digest']}  {names}, seed {record['spec']['seed']}: {record['status']}\n")
    if not record["rows"]:
        click.echo(record.get("traceback") or record.get("error", ""))
        return
    _print_rows(record)


def compact(study: Path, store: Path | None, as_json: bool) -> None:
    """Write the snapshot of a study's store."""
    from metabench.grid.snapshot import require_pyarrow, write_snapshot

    require_pyarrow()
    kept = store_of(study, store).open()
    done = [digest for digest, state in kept.standing().items() if state == "done"]
    result = tables(kept, done)
    write_snapshot(kept.folder, result.cells, result.rows)
    if as_json:
        _echo({"cells": len(result.cells), "rows": len(result.rows), "broken": result.broken})
    else:
        click.echo(f"{len(result.cells):,} cells, {len(result.rows):,} numbers in {kept.folder}")


def compare(a: Path, b: Path, as_json: bool) -> None:
    """Print where two stores differ; exit with 1 if B is worse."""
    from metabench.grid.compare import compare

    first, second = (tables(_store_named(place)) for place in (a, b))
    result = compare(first, second)
    if as_json:
        moved = _plain(result.moved)
        _echo({**result._asdict(), "moved": moved, "regressed": result.regressed})
    else:
        _print_comparison(result)
    if result.regressed:
        raise SystemExit(1)


def rm(
    study: Path, digests: tuple[str, ...], failed: bool, store: Path | None, as_json: bool
) -> None:
    """Remove records; which ones must be said."""
    if not digests and not failed:
        raise Misuse("Say which: give digests, or --failed for all that failed.")
    kept = store_of(study, store).open()
    chosen = {found(digest, kept.folder)["digest"] for digest in digests}
    if failed:
        chosen |= {line["digest"] for line in failures(studies.read(study), kept)}
    removed = sorted(digest for digest in chosen if kept.remove(digest))
    if as_json:
        _echo({"removed": removed})
    else:
        click.echo(f"{len(removed):,} cells removed; metabench grid {study} measures them again")


def _store_named(place: Path) -> Store:
    """Take a store's folder, or the study whose store it is."""
    folder = place if place.is_dir() else store_of(place, None).folder
    if not (folder / "store.json").exists():
        raise Misuse(f"{folder} is no store; give a study file or the folder of its results.")
    return Store(folder)


def _print_cells(result: Tables) -> None:
    """Print a cell a line: what varies, then every number that stands for the whole."""
    from metabench.console import print_table
    from metabench.report.text import TextTable, cell, words

    rows = result.rows[result.rows["at"].isna()]
    names = list(dict.fromkeys(rows["quantity"].astype(str)))
    numbers: dict[tuple[int, str], Row] = {
        (i, name): row
        for name in names
        for i, row in zip(
            rows["cell"][rows["quantity"] == name],
            from_table(rows, name, of=None, layer=None),
            strict=True,
        )
    }
    settings = varying(result.cells)
    shown = result.cells[:SHOWN]
    lines = [
        (
            str(shown["digest"][i]),
            str(shown["outcome"][i]),
            *(said(shown[name][i]) for name in settings),
            *(cell(numbers.get((i, name))) for name in names),
        )
        for i in shown.index
    ]
    header = ("cell", "status", *settings, *map(words, names))
    print_table(TextTable(header, tuple(lines)))
    if len(result.cells) > SHOWN:
        click.echo(f"... and {len(result.cells) - SHOWN:,} more: --csv writes all")


def _print_rows(record: Mapping[str, Any]) -> None:
    from metabench import gate, spec
    from metabench.console import print_findings, print_table
    from metabench.report.text import by_axis, overall
    from metabench.rows import to_table

    settings = dict(record["settings"]["probe"])
    probe = spec.build("probes", settings.pop("name"), _measured(settings, record))
    table = to_table([Row(**row) for row in record["rows"]], record["spec"])
    print_table(by_axis(table, probe.axis))
    click.echo()
    print_table(overall(table))
    print_findings(gate.diagnose(probe, table))


def _measured(settings: Mapping[str, Any], record: Mapping[str, Any]) -> dict[str, Any]:
    """Complete a probe's settings with those that it was measured with."""
    spec = {key: v for key, v in record["spec"]["probe"].items() if key not in ("name", "version")}
    return {**settings, **spec}


def _print_comparison(result: Any) -> None:
    from metabench.console import print_table
    from metabench.report.text import TextTable

    click.echo(
        f"pairs  {result.pairs:,} cells; only in A {result.only[0]:,}, in B {result.only[1]:,}"
    )
    if result.seconds:
        ratio, low, high = result.seconds
        click.echo(f"time   B takes {ratio:.3g} [{low:.3g}, {high:.3g}] times as long")
    click.echo(
        f"worse  {len(result.worse)} cells fail in B: {' '.join(result.worse[:5])}".rstrip(": ")
    )
    click.echo(f"moved  {len(result.moved)} numbers beyond round-off")
    if len(result.moved):
        lines = result.moved[:SHOWN].itertuples(index=False)
        print_table(TextTable(tuple(result.moved), tuple(tuple(map(said, line)) for line in lines)))


def _plain(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Give a table's lines as JSON values; what is missing is null."""
    lines = table.astype(object).to_dict("records")
    return [{str(k): None if _missing(v) else v for k, v in line.items()} for line in lines]


def _missing(value: Any) -> bool:
    return isinstance(value, float) and not math.isfinite(value)


def _echo(result: Any) -> None:
    click.echo(json.dumps(result, indent=2, allow_nan=False, ensure_ascii=False, default=int))
