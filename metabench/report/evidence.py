"""Cells and their rows, as a report reads them."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from metabench.records.rows import Row

if TYPE_CHECKING:
    import pandas as pd

NUMBERS = ("at", "value", "low", "high")
TEXTS = ("quantity", "of", "layer", "status")

# Columns of cells that are no settings; so are those that begin with `environment.`.
NO_SETTINGS = (
    *("digest", "outcome", "seconds", "peak_bytes", "environment", "attempts", "error"),
    *("command", "source", "store"),  # the last is blank for those that commands find
)
FINE = ("ok", "diverged")  # outcomes that are results


class Evidence(NamedTuple):
    """Cells and their rows; `rows.cell` is the line of the cell in `cells`."""

    cells: pd.DataFrame  # NO_SETTINGS, environment.*, and settings as dotted columns
    rows: pd.DataFrame  # cell, and the columns of a Row
    notes: tuple[str, ...] = ()  # sentences about what could not be read or is incomplete
    broken: tuple[str, ...] = ()  # sentences about files that are left out
    trusted: tuple[str, ...] = ()  # unlisted members whose code may be run

    @property
    def settings(self) -> list[str]:
        """The columns of `cells` that are settings."""
        return [str(c) for c in self.cells if not is_no_setting(str(c))]

    def tables(self, chosen: Collection[int]) -> Iterator[tuple[int, pd.DataFrame]]:
        """Yield the line and the tidy table of each chosen cell, with its settings as columns."""
        import pandas as pd

        places = self.rows.groupby("cell", sort=True).indices
        rows = self.rows[list(Row._fields)].astype(dict.fromkeys(TEXTS, object))
        settings = self.cells[self.settings]
        there = settings.notna().to_numpy()
        alike: dict[bytes, list[int]] = {}  # cells by which settings they have
        for number in chosen:
            alike.setdefault(there[number].tobytes(), []).append(number)
        made: dict[int, pd.DataFrame] = {}
        for pattern, numbers in alike.items():
            given = settings.loc[numbers, np.frombuffer(pattern, dtype=bool)].apply(_as_int)
            counts = [len(places[number]) for number in numbers]
            part = rows.take(np.concatenate([places[number] for number in numbers]))
            repeated = given.take(np.repeat(np.arange(len(numbers)), counts))
            repeated.index = part.index
            whole, ends = pd.concat([repeated, part], axis=1), np.cumsum(counts)
            for number, start, end in zip(numbers, ends - counts, ends, strict=True):
                made[number] = whole.iloc[start:end].reset_index(drop=True)
        for number in chosen:
            yield number, made.pop(number)


def of_cells(lines: Sequence[Mapping[str, Any]], rows: Sequence[tuple[int, Row]]) -> Evidence:
    """Create evidence from a mapping for each cell, and rows with the index of their cell."""
    import pandas as pd

    table = pd.DataFrame([(i, *row) for i, row in rows], columns=["cell", *Row._fields])
    table = table.astype({"cell": "int64", **dict.fromkeys(NUMBERS, float)})
    return Evidence(pd.DataFrame(list(lines)), finite(table))


def is_no_setting(column: str) -> bool:
    """Return whether a column of cells is no setting."""
    return column in NO_SETTINGS or column.startswith("environment.")


def missing(value: object) -> bool:
    """Return whether a value is None or NaN."""
    return value is None or value != value


def plain(value: Any) -> Any:
    """Return a plain Python value; floats without fraction become int."""
    if isinstance(value, np.generic):
        value = value.item()
    whole = isinstance(value, float) and abs(value) < 2**53 and value.is_integer()
    return int(value) if whole else value


def finite(rows: pd.DataFrame) -> pd.DataFrame:
    """Replace non-finite numbers by blanks with a status, in place, as probes do."""
    infinite = np.isinf(rows[list(NUMBERS)])
    ends = (infinite["low"] | infinite["high"]) & (rows["status"] == "ok")
    rows.loc[ends, "status"] = "unbounded"
    gone = (rows["value"].isna() | infinite["value"]) & rows["status"].isin(["ok", "unbounded"])
    gone &= ~(rows["status"].eq("unbounded") & rows["low"].notna() & ~infinite["low"])
    rows.loc[gone, "status"] = "missing"
    rows[list(NUMBERS)] = rows[list(NUMBERS)].mask(infinite)
    return rows


def _as_int(column: pd.Series[Any]) -> pd.Series[Any]:
    """Convert a float column to int if all values are whole."""
    if column.dtype.kind != "f" or not (column % 1 == 0).all() or column.abs().max() >= 2**53:
        return column
    return column.astype("int64")
