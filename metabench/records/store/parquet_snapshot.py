"""Many records in two Parquet files that are read at once; made from records, and again if lost."""

from __future__ import annotations

import importlib.util
import json
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from metabench.records import record_files
from metabench.settings.errors import Misuse

if TYPE_CHECKING:
    import pandas as pd

POINTER = "snapshot.json"  # names the folder of the two files, so that both change at once
FILES = ("cells.parquet", "rows.parquet")


def write_snapshot(folder: Path, cells: pd.DataFrame, rows: pd.DataFrame) -> None:
    """Write both tables beside the last snapshot, point to them, and remove the last one.

    Raises:
        Misuse: if pyarrow is not installed.
    """
    require_pyarrow()
    place = Path(tempfile.mkdtemp(prefix="snapshot-", dir=folder))
    for name, table in zip(FILES, (cells, rows), strict=True):
        texts = table.select_dtypes(exclude="number").columns.difference(["digest"])
        table.astype(dict.fromkeys(texts, "category")).to_parquet(place / name, index=False)
    record_files.write(folder / POINTER, json.dumps({"folder": place.name}) + "\n")
    for other in folder.glob("snapshot-*"):
        if other != place:
            shutil.rmtree(other, ignore_errors=True)


def read_snapshot(folder: Path) -> tuple[pd.DataFrame, pd.DataFrame] | None:
    """Read both tables of the last snapshot, or nothing where there is none."""
    pointer = folder / POINTER
    if not pointer.exists():
        return None
    require_pyarrow()
    import pandas as pd

    place = folder / json.loads(pointer.read_text(encoding="utf-8"))["folder"]
    cells, rows = (pd.read_parquet(place / name) for name in FILES)
    return cells, rows


def require_pyarrow() -> None:
    """Ask for the extra that reads and writes Parquet.

    Raises:
        Misuse: if it isn't installed.
    """
    if importlib.util.find_spec("pyarrow") is None:
        raise Misuse("Parquet files need pyarrow: pip install 'metabench[parquet]'.")
