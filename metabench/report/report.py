"""`metabench report`: the page, table and figures of sources on disk."""

from __future__ import annotations

import html
import re
import shlex
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import unquote

from metabench.records import csv_text, run_folders
from metabench.records.rows import Finding
from metabench.records.separate_files import require_separate
from metabench.records.store.parquet_snapshot import require_pyarrow
from metabench.report.evidence import Evidence
from metabench.report.figures import MOST_FIGURES
from metabench.report.findings import MOST_CELLS_DIAGNOSED
from metabench.report.joined_evidence import joined
from metabench.report.sources import read
from metabench.report.study_page import study_page
from metabench.report.study_provenance import StudyProvenance
from metabench.report.wide_table import wide
from metabench.settings.errors import InvalidInput
from metabench.settings.trust import require_named

TABLES = (".csv", ".parquet", ".pq")  # endings of files that `--table` writes


class Reported(NamedTuple):
    """What a page says: its findings, and what it could not read or judge."""

    findings: list[Finding]  # one of each group
    unmeasured: int  # cells without a result or without a judgment
    broken: tuple[str, ...]  # a sentence about each record left out because it is damaged


def report(
    sources: tuple[Path, ...],
    page: Path,
    table: Path | None = None,
    store: Path | None = None,
    most: int = MOST_FIGURES,
    export: Path | None = None,
    trusted: tuple[str, ...] = (),
) -> Reported:
    """Read the sources; write the page and, if asked for, a table and the files of figures.

    Args:
        sources: studies, stores, tables, runs or records.
        page: the HTML file to write.
        table: file for all rows as one tidy table, .csv or .parquet.
        store: the folder of a study's results, if not the default.
        most: largest number of figures on the page.
        export: folder for every figure and table of the page.
        trusted: unlisted probes whose code may be run: `my.py:Hello`.

    Returns:
        What the page is based on, and what it says.

    Raises:
        InvalidInput: if a source can't be read or is empty, a file can't be written, or no source
            names a trusted member.
    """
    _require_writable(page, table, export)
    if store is not None and not any(source.suffix.lower() == ".toml" for source in sources):
        raise InvalidInput(
            f"--store {store} is a study's store, but no source is a study (.toml); give the "
            "store itself as a source."
        )
    evidence = joined([read(source, store) for source in sources])
    require_named([list(evidence.cells[name].unique()) for name in evidence.settings], trusted)
    evidence = evidence._replace(trusted=(*trusted, *evidence.trusted))
    if not len(evidence.cells):
        why = evidence.broken or (f"{sources[0]} has no cells yet.",)
        raise InvalidInput(f"Nothing to report: {why[0]}")
    findings: list[Finding] = []
    document = study_page(evidence, about(sources, store), most, findings)
    figures = {} if export is None else {export / name: text for name, text in saved(document)}
    _require_apart(page, table, figures, sources)
    if table is not None:
        write_table(table, evidence)
    for path, text in {page: document, **figures}.items():
        run_folders.write(path, text)
    judged = min(evidence.rows["cell"].nunique(), MOST_CELLS_DIAGNOSED)
    return Reported(findings, len(evidence.cells) - judged, evidence.broken)


def _require_writable(page: Path, table: Path | None, export: Path | None) -> None:
    """Check the names of the page and the table, and make the folder of the figures."""
    for path in filter(None, (page, table)):
        run_folders.check_writable(path)
    if table is not None and table.suffix not in TABLES:
        raise InvalidInput(f"--table writes {' or '.join(TABLES)}; given {table}.")
    if export is not None:
        run_folders.make_folder(export)


def _require_apart(
    page: Path, table: Path | None, figures: Iterable[Path], sources: Iterable[Path]
) -> None:
    """Check that no file to be written is a source, or another one of them.

    Args:
        page: the HTML file.
        table: the table, if one was asked for.
        figures: the files of figures and tables.
        sources: what is read.
    """
    given = {"--html": page, **({"--table": table} if table else {})}
    require_separate({**given, **{f"--export's {path.name}": path for path in figures}}, sources)


def saved(document: str) -> Iterator[tuple[str, str]]:
    """Yield name and text of each file that a page offers: figures, data, LaTeX tables."""
    for name, data in re.findall(r'download="([^"/]*)" href="data:[^",]*,([^"]*)"', document):
        yield html.unescape(name), unquote(html.unescape(data))


def about(sources: tuple[Path, ...], store: Path | None = None) -> StudyProvenance:
    """Return title, sources and commands of the evidence.

    Args:
        sources: studies, stores, tables, runs or records.
        store: the folder of a study's results, if not the default.
    """
    names = tuple(dict.fromkeys(map(str, sources)))
    studies = [source for source in sources if source.suffix == ".toml"]
    text = "\n".join(source.read_text(encoding="utf-8", errors="replace") for source in studies)
    at = ["--store", str(store)] if store else []
    commands = [shlex.join(["metabench", "grid", str(source), *at]) for source in studies]
    commands.append(shlex.join(["metabench", "report", *names, *at]))
    title = ", ".join(dict.fromkeys(_source_name(source) for source in sources[:3]))
    return StudyProvenance(title, names, tuple(commands), text)


def write_table(path: Path, evidence: Evidence) -> None:
    """Write all evidence as one tidy table, which `metabench report` reads again."""
    whole = wide(evidence)
    if path.suffix == ".csv":
        run_folders.write(path, csv_text.to_csv(whole))
        return
    require_pyarrow()
    for name in whole.select_dtypes(exclude="number"):
        whole[name] = whole[name].map(_text_or_none).astype("category")
    whole.to_parquet(path, index=False)


def _text_or_none(value: Any) -> Any:
    return None if value is None or value != value else str(value)


def _source_name(source: Path) -> str:
    generic = source.stem in ("study", "table", "record", "page")
    return source.resolve().parent.name if generic else source.stem
