"""Many records in two Parquet files that are read at once; made from records, and again if lost.

snapshot.json names the folder of the two files, so that both change at once, and their digests: a
snapshot that was damaged, or is of another schema, counts as none.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from metabench.records import ordinary_files, run_folders
from metabench.records.record import SCHEMA
from metabench.records.rows import Row
from metabench.settings.errors import InvalidInput

if TYPE_CHECKING:
    import pandas as pd

POINTER = "snapshot.json"
FILES = ("cells.parquet", "rows.parquet")


def write_snapshot(folder: Path, cells: pd.DataFrame, rows: pd.DataFrame) -> None:
    """Write both tables as the new snapshot, and remove the last one.

    Args:
        folder: of the store.
        cells: one line per cell.
        rows: one line per number.

    Raises:
        InvalidInput: if pyarrow is not installed.
    """
    require_pyarrow()
    place = Path(tempfile.mkdtemp(prefix="snapshot-", dir=folder))
    for name, table in zip(FILES, (cells, rows), strict=True):
        texts = table.select_dtypes(exclude="number").columns.difference(["digest"])
        made = table.astype(dict.fromkeys(texts, "category"))
        try:
            made.to_parquet(place / name, index=False)
        except OSError as error:  # pyarrow names no file
            shutil.rmtree(place, ignore_errors=True)
            raise OSError(error.errno, os.strerror(error.errno or 0), f"{place / name}") from error
    pointer = {"schema": SCHEMA, "folder": place.name, "sha256": _digests(place)}
    ordinary_files.make_room(folder / POINTER, folder / "set_aside")
    run_folders.write(folder / POINTER, json.dumps(pointer) + "\n")
    for other in folder.glob("snapshot-*"):
        if other != place:
            shutil.rmtree(other, ignore_errors=True)


def read_snapshot(folder: Path) -> tuple[pd.DataFrame, pd.DataFrame] | None:
    """Read both tables of the last snapshot, or nothing where there is none."""
    try:
        pointer = json.loads(ordinary_files.read(folder / POINTER))
        place = folder / pointer["folder"]
        if pointer["schema"] != SCHEMA or pointer["sha256"] != _digests(place):
            return None
    except (OSError, InvalidInput, ValueError, KeyError, TypeError, RecursionError):
        return None
    require_pyarrow()
    import pandas as pd

    cells, rows = (pd.read_parquet(place / name) for name in FILES)
    return (cells, rows) if _plain(cells, "digest") and _plain(rows, *Row._fields) else None


def _plain(table: pd.DataFrame, *names: str) -> bool:
    """Tell whether a table has these columns, and no lists or structures in any."""
    from pandas.api.types import is_object_dtype

    odd = {name for name, kind in zip(table, table.dtypes, strict=True) if is_object_dtype(kind)}
    return {*names} <= {*table} and odd <= {"digest"}


def _digests(place: Path) -> list[str]:
    contents = (ordinary_files.read(place / name) for name in FILES)
    return [hashlib.sha256(content).hexdigest() for content in contents]


def require_pyarrow() -> None:
    """Ask for the extra that reads and writes Parquet.

    Raises:
        InvalidInput: if it isn't installed.
    """
    if importlib.util.find_spec("pyarrow") is None:
        raise InvalidInput("Parquet files need pyarrow: pip install 'metabench[parquet]'.")
