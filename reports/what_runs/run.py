"""Does metabench give the right meta-gradient of modules and losses that people bring?

    python reports/what_runs/run.py                    # all rows; writes table.csv and page.md
    python reports/what_runs/run.py --only lstm        # prints the rows of a module or loss
    python reports/what_runs/run.py --check            # writes nothing

from the root of a clone. It fails if a row is wrong, a traceback, or a sentence of no listed kind.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import click
import pandas as pd
import torch

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parents[1]))

from reports.what_runs.judged import (  # ruff: ignore[module-import-not-at-top-of-file]
    LEAST_WITH_NUMBERS,
    failures,
    kind_of,
    without_numbers,
)
from reports.what_runs.page import page  # ruff: ignore[module-import-not-at-top-of-file]
from reports.what_runs.plan import (  # ruff: ignore[module-import-not-at-top-of-file]
    CASES,
    of_algorithms,
    of_losses,
    of_modules,
)
from reports.what_runs.rows import Row, measured  # ruff: ignore[module-import-not-at-top-of-file]


def shown(row: Row, rows: list[Row]) -> str:
    """Write a row as one line."""
    numbers = [f"{value:.2g}" for value in (row.error, row.noise) if value is not None]
    kind = f"[{kind_of(row, rows) or 'NOT LISTED'}]" if row.outcome == "sentence" else ""
    return " ".join([*row[:6], *numbers, kind, row.said]).strip()


@click.command()
@click.option("--only", multiple=True, help="Modules or losses to measure; writes nothing.")
@click.option("--check", is_flag=True, help="Write nothing.")
def main(only: tuple[str, ...], check: bool) -> None:
    """Measure all rows and write the table and the page.

    Raises:
        SystemExit: if a row fails, or too few modules give numbers.
    """
    torch.set_num_threads(1)
    specs = [*of_modules(), *of_losses(), *of_algorithms()]
    if only:
        specs = [spec for spec in specs if {spec.case.name, spec.loss} & set(only)]
    began = time.process_time()
    rows = [measured(spec) for spec in specs]
    bad = failures(rows)
    for row in rows if only else bad:
        click.echo(shown(row, rows))
    seconds = time.process_time() - began
    click.echo(f"{len(rows)} rows, {len(bad)} of them fail, in {seconds:.0f} processor seconds")
    if not (only or check):
        pd.DataFrame(rows).to_csv(HERE / "table.csv", index=False, float_format="%.2g")
        (HERE / "page.md").write_text(page(rows))
    few = len(CASES) - len(without_numbers(rows)) < LEAST_WITH_NUMBERS and not only
    if bad or few:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
