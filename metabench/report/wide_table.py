"""Conversion between one wide tidy table and evidence."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from metabench.records.rows import Row
from metabench.report.evidence import NUMBERS, TEXTS, Evidence, finite
from metabench.settings.errors import InvalidInput

if TYPE_CHECKING:
    import pandas as pd

NUMBERS_OF_A_CELL = ("seconds", "peak_bytes")


def split(table: pd.DataFrame, called: str) -> Evidence:
    """Split a wide tidy table into cells; rows with equal settings (and digest) are one cell.

    Raises:
        InvalidInput: if columns of a tidy table are missing or hold lists, or a number is text.
    """
    import pandas as pd

    _require_plain(table, called)
    if absent := [name for name in ("quantity", "value") if name not in table]:
        raise InvalidInput(
            f"{called} has no column {absent[0]!r}. Give a tidy table, as written by --csv, "
            "metabench show --csv or metabench report --table."
        )
    rows = pd.DataFrame({name: _column(table, name, called) for name in Row._fields})
    rest = table[[name for name in table if name not in (*Row._fields, "cell")]]
    # one number for each column in turn is much faster than grouping by all of them at once
    keys = np.zeros(len(table), dtype=np.int64)
    for name in ["digest"] if "digest" in rest else list(rest):
        codes, _ = pd.factorize(rest[name], use_na_sentinel=False)
        keys, _ = pd.factorize(keys * (codes.max(initial=0) + 1) + codes)
    _, first, cell = np.unique(keys, return_index=True, return_inverse=True)
    # labels are made of settings: a category would refuse words that no setting has
    coded = dict.fromkeys(rest.select_dtypes("category"), object)
    cells = rest.take(first).reset_index(drop=True).astype(coded)
    rows.insert(0, "cell", cell)
    failed = rows["quantity"] == "cell"  # the row of a cell without numbers
    outcome = pd.Series("ok", index=cells.index, dtype=object)
    outcome[rows["cell"][rows["status"] == "diverged"].unique()] = "diverged"
    outcome[rows["cell"][failed].to_numpy()] = rows["status"][failed].to_numpy()
    if "outcome" not in cells:
        cells["outcome"] = outcome
    return Evidence(cells, finite(rows[~failed].reset_index(drop=True)))


def _require_plain(table: pd.DataFrame, called: str) -> None:
    """Refuse columns of lists, and texts where numbers of a cell should be.

    Raises:
        InvalidInput: naming the column.
    """
    from pandas.api.types import is_object_dtype

    kinds = zip(table, table.dtypes, strict=True)
    for name in (name for name, kind in kinds if is_object_dtype(kind)):
        if odd := [each for each in table[name] if not isinstance(each, str | float | int | None)]:
            raise InvalidInput(
                f"Column {name!r} of {called} must contain plain values, not "
                f"{type(odd[0]).__name__}s; write one column for each of its parts."
            )
    for name in {*NUMBERS_OF_A_CELL} & {*table}:
        _column(table, name, called)


def wide(evidence: Evidence) -> pd.DataFrame:
    """Return all evidence as one tidy table, which `split` reads."""
    import pandas as pd

    cells, rows = evidence.cells, evidence.rows
    bare = cells.index.difference(pd.Index(rows["cell"].unique()))
    if len(bare):
        line: dict[str, Any] = {"quantity": "cell", "of": "", "layer": ""}
        line |= dict.fromkeys(NUMBERS, float("nan"))
        failed = pd.DataFrame({"cell": bare, **line, "status": cells["outcome"][bare].to_numpy()})
        rows = pd.concat([rows, failed], ignore_index=True)
    kept = [name for name in cells if name != "source" and not _blank(cells[name])]
    about = cells[kept].take(rows["cell"].to_numpy()).reset_index(drop=True)
    return pd.concat([about, rows[list(Row._fields)].reset_index(drop=True)], axis=1)


def _blank(column: pd.Series[Any]) -> bool:
    return bool((column.isna() | (column.astype(str) == "")).all())


def _column(table: pd.DataFrame, name: str, called: str) -> pd.Series[Any]:
    import pandas as pd

    if name in TEXTS:
        default = "ok" if name == "status" else ""
        given = table[name] if name in table else pd.Series(default, index=table.index)
        return given.astype(object).where(given.notna(), default).map(str)
    if name not in table:
        return pd.Series(float("nan"), index=table.index)
    try:
        return table[name].astype(float)
    except (TypeError, ValueError) as error:
        raise InvalidInput(f"Column {name!r} of {called} must contain numbers: {error}.") from error
