"""The command `plan`: cells and forecast."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import click

from metabench.cli.grid.large_studies import LARGE, expected_text, measure_first, plan_outline
from metabench.cli.left_out import end_without
from metabench.cli.suggested_command import suggest
from metabench.cli.terminal import print_json
from metabench.grid.scheduling.time_forecast import forecast
from metabench.grid.scheduling.work_units import todo
from metabench.grid.study import study as studies
from metabench.grid.study.study import Study
from metabench.records.store.store_paths import store_of

MOST_CELLS_LISTED = 20


def plan(study: Path, measure: int, store: Path | None, as_json: bool) -> None:
    """Print a study's cells, their states, and the expected time and memory of the open ones.

    Args:
        study: path of the study file.
        measure: number of open cells to measure first.
        store: folder of the results; None is the default one.
        as_json: print JSON instead of text.
    """
    outlined, kept = studies.outlined(study), store_of(study, store).require_readable()
    if outlined.outline.size > LARGE:
        plan_outline(outlined, kept, measure, as_json)
        return
    asked = outlined.whole()
    if measure:
        measure_first(asked, kept, measure)
    standing = kept.standing()
    states = {digest: standing.get(digest, "open") for digest in asked.cells}
    broken = kept.broken(digest for digest in asked.cells if states[digest] == "broken")
    open_cells = len(todo(asked, kept, retry=False, standing=standing))
    expected = forecast(kept, asked.cells)
    if as_json:
        cells = [{"digest": d, "state": s, "spec": asked.cells[d].spec} for d, s in states.items()]
        record = {
            "study": str(study),
            "store": str(kept.folder),
            "cells": cells,
            "open": open_cells,
        }
        print_json({**record, "forecast": expected and expected._asdict()})
        end_without(broken)
        return
    _print_cells(asked, states)
    done = sum(state == "done" for state in states.values())
    click.echo(f"\ncells  {len(states):,}: {done:,} done, {open_cells:,} to go")
    click.echo(f"time   {expected_text(expected, open_cells)}")
    click.echo(f"next   {suggest('grid')}")
    end_without(broken)


def _print_cells(study: Study, states: Mapping[str, str]) -> None:
    import pandas as pd

    from metabench.cli.terminal import print_table
    from metabench.records.rows import flatten
    from metabench.records.store.tables import setting_text, varying
    from metabench.report.text_tables import TextTable

    cells = pd.DataFrame([dict(flatten(cell.spec)) for cell in study.cells.values()])
    names = varying(cells)
    lines = zip(cells[names].to_numpy(object).tolist(), states.items(), strict=True)
    table = [(digest, state, *map(setting_text, settings)) for settings, (digest, state) in lines]
    print_table(TextTable(("cell", "state", *names), tuple(table[:MOST_CELLS_LISTED])))
    if len(table) > MOST_CELLS_LISTED:
        click.echo(f"... and {len(table) - MOST_CELLS_LISTED:,} more: --json lists all")
