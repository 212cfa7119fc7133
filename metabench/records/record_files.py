"""Where results are written: checked before anything is measured, whole or not at all."""

from __future__ import annotations

import csv
import json
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from metabench.records import atomic_files
from metabench.records.rows import Finding, Row
from metabench.settings.errors import Misuse

if TYPE_CHECKING:
    import pandas as pd

RUNS = Path("metabench-runs")


def record(
    spec: Mapping[str, Any],
    rows: Sequence[Row],
    findings: Sequence[Finding],
    provenance: Mapping[str, Any],
) -> str:
    """Give the result as one strict JSON object; what isn't finite is null with its status."""
    result = {
        "spec": spec,
        "rows": [row._asdict() for row in rows],
        "findings": [plain(finding) for finding in findings],
        "provenance": provenance,
    }
    return strict_json(result)


def plain(finding: Finding) -> dict[str, Any]:
    """Give a finding, and the rows it rests on, as a record holds them."""
    return {**finding._asdict(), "evidence": [row._asdict() for row in finding.evidence]}


def strict_json(result: Mapping[str, Any]) -> str:
    """Write an object for people and programs: indented, without NaN, which JSON doesn't have."""
    return json.dumps(result, indent=2, allow_nan=False, ensure_ascii=False)


class Record(NamedTuple):
    """What is read back of a run, or of one cell of a grid."""

    spec: dict[str, Any]
    rows: tuple[Row, ...]
    provenance: dict[str, Any]
    whole: dict[str, Any]  # the object that it was read from


def read(path: Path) -> Record:
    """Read a record back; what a row lacks is as `Row` has it.

    Raises:
        OSError: if there is none.
        Misuse: if the file is something else, or cut off.
    """
    try:
        whole: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        fields = [{key: line[key] for key in Row._fields if key in line} for line in whole["rows"]]
        rows = tuple(Row(**line) for line in fields)
        return Record(whole["spec"], rows, dict(whole.get("provenance") or {}), whole)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise Misuse(f"{path} is no record ({type(error).__name__}: {error}).") from error


def to_csv(table: pd.DataFrame) -> str:
    """Give the tidy table as CSV, numbers in full."""
    text: str = table.to_csv(index=False, quoting=csv.QUOTE_MINIMAL)
    return text


def run_folder(command: str, digest: str) -> Path:
    """Make the folder of this run, `metabench-runs/<command>-<digest>/`.

    Raises:
        Misuse: if it can't be made or written to.
    """
    folder = RUNS / f"{command}-{digest}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise Misuse(
            f"Results go to {folder}, which can't be made here ({error.strerror}); run the command "
            "in a folder you may write to."
        ) from error
    check_writable(folder / "page.html")
    return folder


def check_writable(path: Path) -> None:
    """Refuse a path whose folder doesn't exist or can't be written to, before any work is done."""
    try:
        if path.is_dir():
            raise Misuse(f"{path} is a folder; give the name of a file.")
        if path.exists() and not path.is_file():  # a pipe or device, which a rename would destroy
            raise Misuse(f"{path} is not an ordinary file; give another path.")
        if blocking := next(filter(Path.is_file, path.parents), None):
            raise Misuse(f"{blocking} is a file, not a folder; give another path.")
        if not path.parent.is_dir():
            raise Misuse(f"The folder {path.parent} doesn't exist; make it, or give another path.")
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}-"):
            pass
    except OSError as error:
        raise Misuse(f"{path} can't be written ({error.strerror}); give another path.") from error


def write(path: Path, text: str) -> None:
    """Write a file so that a kill leaves the old one or the new one, never half of one."""
    atomic_files.write(path, text.encode())
