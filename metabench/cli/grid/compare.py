"""The command `compare`: differences between two stores."""

from __future__ import annotations

from pathlib import Path

import click

from metabench.cli.exit_codes import LEFT_OUT, REGRESSION
from metabench.cli.grid.show import plain
from metabench.cli.left_out import warn
from metabench.cli.terminal import print_json
from metabench.grid.compare import Comparison, compare
from metabench.records.number_format import number
from metabench.records.store.store import Store
from metabench.records.store.store_paths import store_of
from metabench.records.store.tables import setting_text, tables
from metabench.settings.errors import InvalidInput

MOST_NUMBERS_PRINTED = 40  # --json gives all


def compare_stores(a: Path, b: Path, as_json: bool) -> None:
    """Print where two stores differ; exit with 1 if B is worse.

    Args:
        a: a store's folder, or the study whose store it is.
        b: the same of the store that is judged.
        as_json: print JSON instead of text.

    Raises:
        SystemExit: with 1 if B is worse, with 3 if records are damaged.
    """
    first, second = (tables(_store_named(place)) for place in (a, b))
    broken = [*first.broken, *second.broken]
    warn(broken)
    result = compare(first, second)
    if as_json:
        moved = plain(result.moved)
        print_json({**result._asdict(), "moved": moved, "regressed": result.regressed})
    else:
        _print_comparison(result)
    if result.regressed:
        raise SystemExit(REGRESSION)
    if broken:
        raise SystemExit(LEFT_OUT)


def _store_named(place: Path) -> Store:
    """Return the store of a folder or of a study file."""
    folder = place if place.is_dir() else store_of(place, None).folder
    if not Store(folder).is_there():
        raise InvalidInput(
            f"{folder} is not a store; give a study file or the folder of its results."
        )
    return Store(folder)


def _print_comparison(result: Comparison) -> None:
    from metabench.cli.terminal import print_table
    from metabench.report.text_tables import TextTable

    click.echo(
        f"pairs  {result.pairs:,} cells; only in A {result.only[0]:,}, in B {result.only[1]:,}"
    )
    if result.seconds:
        ratio, low, high = result.seconds
        ends = f" [{number(low)}, {number(high)}]" if low == low else ""  # none of a few seeds
        click.echo(f"time   B takes {number(ratio)}{ends} times as long")
    click.echo(
        f"worse  {len(result.worse)} cells fail in B: {' '.join(result.worse[:5])}".rstrip(": ")
    )
    click.echo(f"moved  {len(result.moved)} numbers beyond round-off")
    if len(result.moved):
        lines = result.moved[:MOST_NUMBERS_PRINTED].itertuples(index=False)
        texts = tuple(tuple(map(setting_text, line)) for line in lines)
        print_table(TextTable(tuple(map(str, result.moved)), texts))
