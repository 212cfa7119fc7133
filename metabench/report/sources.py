"""Reading of studies, stores, runs, records and tables from disk, without torch."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING

from metabench.records import csv_text, run_folders
from metabench.records import record as records
from metabench.records.rows import flatten
from metabench.records.store.environments import environments_in
from metabench.records.store.parquet_snapshot import require_pyarrow
from metabench.records.store.store import Store
from metabench.records.store.tables import Tables, tables
from metabench.report.evidence import TEXTS, Evidence, of_cells
from metabench.report.joined_evidence import joined
from metabench.report.wide_table import split
from metabench.settings.errors import InvalidInput
from metabench.settings.trust import members_of_study

if TYPE_CHECKING:
    import pandas as pd

NAMES = ("digest", "outcome", "environment", "error", "command", "theta")  # text, though "12e4"
FORMS = (
    "Give a study file (.toml), a store or run folder of metabench-runs, a record (.json), or a "
    "tidy table (.csv, .parquet)."
)


def read(source: Path, store: Path | None = None) -> Evidence:
    """Read one source of any known form.

    Raises:
        InvalidInput: if the source does not exist or its form is unknown.
    """
    if not source.exists():
        raise InvalidInput(f"{source} does not exist. {FORMS}")
    if source.is_dir():
        return _folder(source)
    if not source.is_file():  # reading a pipe would block
        raise InvalidInput(f"{source} is not an ordinary file. {FORMS}")
    kind = source.suffix.lower()
    if kind == ".toml":
        return _store(store or run_folders.RUNS / source.stem, source)
    if kind == ".json":
        return _record(source)
    if kind == ".csv":
        return split(_csv(source), str(source))
    if kind in (".parquet", ".pq"):
        return split(_parquet(source), str(source))
    raise InvalidInput(f"{source} is of an unknown format. {FORMS}")


def _folder(folder: Path) -> Evidence:
    if Store(folder).is_there():
        return _store(folder, None)
    if (folder / "record.json").exists():
        return _record(folder / "record.json")
    if runs := sorted(folder.glob("*/record.json")):
        return _runs(runs)
    raise InvalidInput(f"The folder {folder} contains neither store.json nor record.json. {FORMS}")


def _runs(paths: list[Path]) -> Evidence:
    """Read the records of several runs; damaged ones are left out."""
    parts, broken = [], []
    for path in paths:
        try:
            parts.append(_record(path))
        except InvalidInput as error:
            broken.append(str(error))
    if not parts:
        raise InvalidInput(f"Nothing to report: {broken[0]}")
    return joined(parts)._replace(broken=tuple(broken))


def _store(folder: Path, study: Path | None) -> Evidence:
    if not Store(folder).is_there():
        command = shlex.join(["metabench", "grid", str(study), "--store", str(folder)])
        repair = f" Run {command}, or give --store FOLDER." if study else ""
        raise InvalidInput(f"{folder} is not a store: nothing is measured yet.{repair}")
    found: Tables = tables(Store(folder))
    cells = found.cells.astype(dict.fromkeys(found.cells.select_dtypes("category"), object))
    known = {
        name: dict(flatten({"environment": environment}))
        for name, environment in environments_in(folder).items()
    }
    columns = list(dict.fromkeys(key for made in known.values() for key in made))
    for column in columns:
        cells[column] = [known.get(str(name), {}).get(column) for name in cells["environment"]]
    cells["store"] = "" if folder.parent == run_folders.RUNS else str(folder)
    rows = found.rows.astype(dict.fromkeys(found.rows.select_dtypes("category"), object))
    trusted = members_of_study(study) if study else ()
    return Evidence(cells, rows, broken=found.broken, trusted=trusted)


def _record(path: Path) -> Evidence:
    """Read the record of one command, or of one cell of a grid."""
    found = records.read(path)
    provenance = dict(found.provenance)
    cell = {
        "digest": found.digest,
        "outcome": found.outcome,
        "error": found.whole.get("error", ""),
        "command": provenance.pop("command", ""),
        **dict(flatten({"environment": provenance})),
        **dict(flatten(found.settled)),
    }
    return of_cells([cell], [(0, row) for row in found.rows])


def _csv(path: Path) -> pd.DataFrame:
    import pandas as pd

    try:
        names = [str(name) for name in pd.read_csv(path, nrows=0)]
        header = [str(name) for name in pd.read_csv(path, header=None, nrows=1, dtype=str).iloc[0]]
        # an algorithm may be called "NA": only blanks are missing values
        table = pd.read_csv(
            path,
            keep_default_na=False,
            na_values={n: ["", "nan", "NaN"] for n in names if n not in TEXTS},
            dtype={n: str for n in names if n in (*TEXTS, *NAMES) or n.startswith("environment.")},
            low_memory=False,
        )
    except (ValueError, UnicodeDecodeError) as error:
        raise InvalidInput(f"{path} can't be read as CSV: {error}.") from error
    if not isinstance(table.index, pd.RangeIndex):  # as pandas reads more values than names
        raise InvalidInput(f"{path} has lines with more values than columns; write it again.")
    if twice := [name for name in header if header.count(name) > 1]:
        raise InvalidInput(f"{path} has two columns {twice[0]!r}; leave one out.")
    return csv_text.from_csv(table)


def _parquet(path: Path) -> pd.DataFrame:
    import pandas as pd

    require_pyarrow()
    try:
        return pd.read_parquet(path)
    except (ValueError, OSError) as error:
        raise InvalidInput(f"{path} can't be read as Parquet: {error}.") from error
