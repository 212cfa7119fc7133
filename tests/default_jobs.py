"""Tables of every probe's default job, measured once and committed, as printed and drawn results.

`tests/report/tables/PROBE.csv` holds the rows, `settings.json` the settings of each.
"""

from __future__ import annotations

import functools
import json
from pathlib import Path
from typing import Any

import pandas as pd

from metabench.cli.probe.print_result import Printed
from metabench.measurement.find_with_checks import find
from metabench.records.rows import Row, rows_from_tuples, to_table
from metabench.settings import fields

TABLES = Path(__file__).parent / "report" / "tables"
PROBES = ("agreement", "constants", "cost", "explosion", "spectrum", "variance", "verify")
TEXTS = dict.fromkeys(("quantity", "of", "layer", "status"), str)


@functools.cache
def settings() -> dict[str, Any]:
    return json.loads((TABLES / "settings.json").read_text(encoding="utf-8"))


@functools.cache
def default_job(name: str) -> Printed:
    """The committed table of a probe, with what is found in it now."""
    read = pd.read_csv(TABLES / f"{name}.csv", dtype=TEXTS, keep_default_na=False, na_values=[""])
    read = read.fillna(dict.fromkeys(TEXTS, ""))
    rows = rows_from_tuples(read[list(Row._fields)].itertuples(index=False, name=None))
    spec = settings()[name]
    given = {key: value for key, value in spec["probe"].items() if key != "name"}
    probe = fields.build("probes", name, given)
    table = to_table(rows, spec)
    return Printed(name, probe, table, find(probe, table), spec)
