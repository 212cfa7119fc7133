"""Evidence of several sources, joined without duplicates."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from metabench.report.evidence import NO_SETTINGS, Evidence, is_no_setting, missing, plain

if TYPE_CHECKING:
    import pandas as pd


def joined(parts: Sequence[Evidence]) -> Evidence:
    """Join evidence; of cells with the same digest or settings, only the first is kept."""
    import pandas as pd

    moved, offset = [], 0
    for part in parts:
        moved.append(part.rows.assign(cell=part.rows["cell"] + offset))
        offset += len(part.cells)
    notes = [note for part in parts for note in part.notes]
    cells = pd.concat([part.cells for part in parts], ignore_index=True)
    rows = pd.concat(moved, ignore_index=True)
    twice = _twice(cells)
    if twice.any():
        number = (~twice).cumsum() - 1
        keep = ~twice[rows["cell"].to_numpy()]
        rows = rows[keep].reset_index(drop=True)
        rows["cell"] = number[rows["cell"].to_numpy()]
        cells = cells[~twice].reset_index(drop=True)
        notes.append(f"{twice.sum():,} duplicate cells are left out; the first of each is shown.")
    for name in NO_SETTINGS:
        if name not in cells:
            cells[name] = ""
    broken = tuple(sentence for part in parts for sentence in part.broken)
    trusted = tuple(dict.fromkeys(name for part in parts for name in part.trusted))
    return Evidence(cells, rows, tuple(notes), broken, trusted)


def _twice(cells: pd.DataFrame) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """Return which cells are duplicates of an earlier one."""
    settings = [name for name in cells if not is_no_setting(str(name))]
    named = cells["digest"].fillna("") if "digest" in cells else cells["outcome"].map(lambda _: "")
    known: set[Any] = set()
    marks = []
    lines = cells[settings].itertuples(name=None)  # with the index: pandas 2 skips empty lines
    for digest, (_, *line) in zip(named, lines, strict=True):
        key = digest or tuple("" if missing(v) else str(plain(v)) for v in line)
        marks.append(key in known)
        known.add(key)
    return np.array(marks, dtype=bool)
