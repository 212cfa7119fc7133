"""From sources on disk to a page, and what else is written of them."""

from __future__ import annotations

import html
import importlib
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from metabench.records import run_folders
from metabench.records.store.parquet_snapshot import require_pyarrow
from metabench.report.evidence import Evidence
from metabench.report.figures import MOST
from metabench.report.joined_evidence import joined
from metabench.report.sources import read
from metabench.report.study_page import study_page
from metabench.report.study_provenance import StudyProvenance
from metabench.report.wide_table import wide
from metabench.settings.errors import InvalidInput


def report(
    sources: tuple[Path, ...],
    page: Path,
    table: Path | None = None,
    store: Path | None = None,
    most: int = MOST,
    export: Path | None = None,
    trusted: tuple[str, ...] = (),
) -> tuple[str, ...]:
    """Read the sources, write the page, and what else is asked for.

    Args:
        sources: studies, stores, tables, runs or records.
        page: the page.
        table: all that the page shows as one tidy table, .csv or .parquet.
        store: a study's results, if they aren't where a grid leaves them.
        most: most figures on the page.
        export: a folder for every figure and table of the page.
        trusted: probes outside of the lists whose code may be run: `my.py:Hello`.

    Returns:
        A sentence about each record that is left out because it isn't what was written.

    Raises:
        InvalidInput: if a source can't be read, holds nothing, or a file can't be written.
    """
    for path in filter(None, (page, table)):
        run_folders.check_writable(path)
    evidence = joined([read(source, store) for source in sources])
    evidence = evidence._replace(trusted=(*trusted, *evidence.trusted))
    if not len(evidence.cells):
        why = evidence.broken or (f"{sources[0]} holds no cell yet.",)
        raise InvalidInput(f"There is nothing to report: {why[0]}")
    _import_seaborn()
    document = study_page(evidence, about(sources), most)
    if table is not None:
        write_table(table, evidence)
    run_folders.write(page, document)
    if export is not None:
        export.mkdir(parents=True, exist_ok=True)
        for name, text in saved(document):
            run_folders.write(export / name, text)
    return evidence.broken


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


def about(sources: tuple[Path, ...]) -> StudyProvenance:
    """Say where the evidence comes from."""
    names = tuple(dict.fromkeys(map(str, sources)))
    studies = [source for source in sources if source.suffix == ".toml"]
    text = "\n".join(source.read_text(encoding="utf-8") for source in studies)
    commands = [f"metabench grid {source}" for source in studies]
    commands.append(f"metabench report {' '.join(names)}")
    title = ", ".join(dict.fromkeys(_named(source) for source in sources[:3]))
    return StudyProvenance(title, names, tuple(commands), text)


def write_table(path: Path, evidence: Evidence) -> None:
    """Write everything as one tidy table, which a report can be made of anywhere."""
    whole = wide(evidence)
    if path.suffix == ".csv":
        run_folders.write(path, run_folders.to_csv(whole))
        return
    if path.suffix not in (".parquet", ".pq"):
        raise InvalidInput(f"--table writes .csv or .parquet; given {path}.")
    require_pyarrow()
    for name in whole.select_dtypes(exclude="number"):
        whole[name] = whole[name].map(_texted).astype("category")
    whole.to_parquet(path, index=False)


def _texted(value: Any) -> Any:
    return None if value is None or value != value else str(value)


def _named(source: Path) -> str:
    generic = source.stem in ("study", "table", "record", "page")
    return source.resolve().parent.name if generic else source.stem
