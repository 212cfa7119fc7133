"""From what is on disk to the evidence of a report: studies, stores, tables, runs; no torch."""

from __future__ import annotations

import html
import importlib
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from metabench.grid.execution.run_cell import status_of
from metabench.records import record_files
from metabench.records.rows import flatten
from metabench.records.store.parquet_snapshot import require_pyarrow
from metabench.records.store.store import Store
from metabench.records.store.tables import Tables, tables
from metabench.report.evidence import TEXTS, Evidence, of_cells
from metabench.report.joined_evidence import joined
from metabench.report.study_page import study_page
from metabench.report.study_provenance import About
from metabench.report.wide_table import split, wide
from metabench.settings import fields
from metabench.settings.errors import Misuse

if TYPE_CHECKING:
    import pandas as pd

NAMES = ("digest", "outcome", "environment", "error", "command", "theta")  # text, though "12e4"
FORMS = (
    "Give a study file (.toml), a store or run folder of metabench-runs, a record (.json), or a "
    "tidy table (.csv, .parquet)."
)


def report(
    sources: tuple[Path, ...],
    page: Path,
    table: Path | None,
    store: Path | None,
    most: int,
    export: Path | None = None,
) -> None:
    """Read the sources, write the page, and the table of all that it shows if asked for."""
    for path in filter(None, (page, table)):
        record_files.check_writable(path)
    evidence = joined([read(source, store) for source in sources])
    if not len(evidence.cells):
        raise Misuse(f"There is nothing to report: {sources[0]} holds no cell yet.")
    _import_seaborn()
    document = study_page(evidence, about(sources), most)
    if table is not None:
        write_table(table, evidence)
    record_files.write(page, document)
    if export is not None:
        export.mkdir(parents=True, exist_ok=True)
        for name, text in saved(document):
            record_files.write(export / name, text)


def _import_seaborn() -> None:
    """Import seaborn without scipy.stats, which takes a sixth of a page's time.

    seaborn has SciPy as an extra and does without it; its density estimates are then its own.
    """
    if "scipy.stats" in sys.modules:
        return
    sys.modules["scipy.stats"] = None  # type: ignore[assignment]  # not to be found, for a moment
    try:
        importlib.import_module("seaborn")
    finally:
        del sys.modules["scipy.stats"]


def saved(document: str) -> Iterator[tuple[str, str]]:
    """Yield the files that a page can be saved as: figures, their data, tables as LaTeX."""
    for name, data in re.findall(r'download="([^"/]*)" href="data:[^",]*,([^"]*)"', document):
        yield html.unescape(name), unquote(html.unescape(data))


def read(source: Path, store: Path | None = None) -> Evidence:
    """Read one source, whichever form it has.

    Raises:
        Misuse: if there is none, or it has no form that is known.
    """
    if not source.exists():
        raise Misuse(f"There is no {source}. {FORMS}")
    kind = source.suffix.lower()
    if source.is_dir():
        return _folder(source)
    if kind == ".toml":
        return _store(store or record_files.RUNS / source.stem, source)
    if kind == ".json":
        return _record(source)
    if kind == ".csv":
        return split(_csv(source), str(source))
    if kind in (".parquet", ".pq"):
        return split(_parquet(source), str(source))
    raise Misuse(f"{source} is none of the known forms. {FORMS}")


def about(sources: tuple[Path, ...]) -> About:
    """Say where the evidence comes from."""
    names = tuple(dict.fromkeys(map(str, sources)))
    studies = [source for source in sources if source.suffix == ".toml"]
    text = "\n".join(source.read_text(encoding="utf-8") for source in studies)
    commands = [f"metabench grid {source}" for source in studies]
    commands.append(f"metabench report {' '.join(names)}")
    title = ", ".join(dict.fromkeys(_named(source) for source in sources[:3]))
    return About(title, names, tuple(commands), text)


def write_table(path: Path, evidence: Evidence) -> None:
    """Write everything as one tidy table, which a report can be made of anywhere."""
    whole = wide(evidence)
    if path.suffix == ".csv":
        record_files.write(path, record_files.to_csv(whole))
        return
    if path.suffix not in (".parquet", ".pq"):
        raise Misuse(f"--table writes .csv or .parquet; given {path}.")
    require_pyarrow()
    for name in whole.select_dtypes(exclude="number"):
        whole[name] = whole[name].map(_texted).astype("category")
    whole.to_parquet(path, index=False)


def _texted(value: Any) -> Any:
    return None if value is None or value != value else str(value)


def _named(source: Path) -> str:
    generic = source.stem in ("study", "table", "record", "page")
    return source.resolve().parent.name if generic else source.stem


def _folder(folder: Path) -> Evidence:
    if (folder / "store.json").exists():
        return _store(folder, None)
    if (folder / "record.json").exists():
        return _record(folder / "record.json")
    if runs := sorted(folder.glob("*/record.json")):
        return joined([_record(run) for run in runs])
    raise Misuse(f"The folder {folder} holds no store.json and no record.json. {FORMS}")


def _store(folder: Path, study: Path | None) -> Evidence:
    if not (folder / "store.json").exists():
        told = f" run metabench grid {study}, or give --store FOLDER." if study else ""
        raise Misuse(f"{folder} is no store: nothing is measured yet;{told}")
    found: Tables = tables(Store(folder))
    cells = found.cells.astype(dict.fromkeys(found.cells.select_dtypes("category"), object))
    known = {
        name: dict(flatten({"environment": json.loads(path.read_text(encoding="utf-8"))}))
        for path in sorted(folder.glob("environments/*.json"))
        for name in [path.stem]
    }
    columns = list(dict.fromkeys(key for made in known.values() for key in made))
    for column in columns:
        cells[column] = [known.get(str(name), {}).get(column) for name in cells["environment"]]
    rows = found.rows.astype(dict.fromkeys(found.rows.select_dtypes("category"), object))
    return Evidence(cells, rows, found.broken)


def _record(path: Path) -> Evidence:
    """Read the record of one command, or of one cell of a grid."""
    try:
        record = record_files.read(path)
    except Misuse as error:
        raise Misuse(f"{error} {FORMS}") from error
    provenance = record.provenance
    cell = {
        "digest": fields.digest(record.spec),
        "outcome": record.whole.get("status") or status_of(row._asdict() for row in record.rows),
        "error": record.whole.get("error", ""),
        "command": provenance.pop("command", ""),
        **dict(flatten({"environment": provenance})),
        **dict(flatten(record.spec)),
    }
    return of_cells([cell], [(0, row) for row in record.rows])


def _csv(path: Path) -> pd.DataFrame:
    import pandas as pd

    try:
        names = [str(name) for name in pd.read_csv(path, nrows=0)]
        # an algorithm may well be called "NA": blanks are what isn't there, and no other word
        return pd.read_csv(
            path,
            keep_default_na=False,
            na_values={n: ["", "nan", "NaN"] for n in names if n not in TEXTS},
            dtype={n: str for n in names if n in (*TEXTS, *NAMES) or n.startswith("environment.")},
            low_memory=False,
        )
    except (ValueError, UnicodeDecodeError) as error:
        raise Misuse(f"{path} can't be read as CSV: {error}.") from error


def _parquet(path: Path) -> pd.DataFrame:
    import pandas as pd

    require_pyarrow()
    try:
        return pd.read_parquet(path)
    except (ValueError, OSError) as error:
        raise Misuse(f"{path} can't be read as Parquet: {error}.") from error
