"""What a report is made of: cells, a line each, and the numbers measured in them."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from metabench.records.rows import Row

if TYPE_CHECKING:
    import pandas as pd

NUMBERS = ("at", "value", "low", "high")
TEXTS = ("quantity", "of", "layer", "status")


# What is known of a cell besides its settings; what begins with `environment.` is so too.
OWN = (
    *("digest", "outcome", "seconds", "peak_bytes", "environment", "attempts", "error"),
    *("command", "source"),
)
FINE = ("ok", "diverged")  # outcomes that are results


class Evidence(NamedTuple):
    """Cells and their numbers: `rows.cell` is a line number of `cells`."""

    cells: pd.DataFrame  # OWN, environment.*, and settings as dotted columns
    rows: pd.DataFrame  # cell, and the columns of a Row
    notes: tuple[str, ...] = ()  # sentences about what couldn't be read or isn't whole
    broken: tuple[str, ...] = ()  # sentences about files that are left out
    trusted: tuple[str, ...] = ()  # members outside of the lists whose code the user lets run

    @property
    def settings(self) -> list[str]:
        """Name the columns that are settings."""
        return [str(c) for c in self.cells if not is_own(str(c))]

    def tables(self, chosen: Collection[int]) -> Iterator[tuple[int, pd.DataFrame]]:
        """Yield number and tidy table of the chosen cells, with settings, as probes made them."""
        import pandas as pd

        places = self.rows.groupby("cell", sort=True).indices
        rows = self.rows[list(Row._fields)].astype(dict.fromkeys(TEXTS, object))
        settings = self.cells[self.settings]
        there = settings.notna().to_numpy()
        alike: dict[bytes, list[int]] = {}  # cells that were given the same settings: one table
        for number in chosen:
            alike.setdefault(there[number].tobytes(), []).append(number)
        made: dict[int, pd.DataFrame] = {}
        for pattern, numbers in alike.items():
            given = settings.loc[numbers, np.frombuffer(pattern, dtype=bool)].apply(_whole)
            counts = [len(places[number]) for number in numbers]
            part = rows.take(np.concatenate([places[number] for number in numbers]))
            about = given.take(np.repeat(np.arange(len(numbers)), counts))
            about.index = part.index
            whole, ends = pd.concat([about, part], axis=1), np.cumsum(counts)
            for number, start, end in zip(numbers, ends - counts, ends, strict=True):
                made[number] = whole.iloc[start:end].reset_index(drop=True)
        for number in chosen:
            yield number, made.pop(number)


def of_cells(lines: Sequence[Mapping[str, Any]], rows: Sequence[tuple[int, Row]]) -> Evidence:
    """Make evidence of plain values: a mapping a cell, and numbered rows."""
    import pandas as pd

    table = pd.DataFrame([(i, *row) for i, row in rows], columns=["cell", *Row._fields])
    table = table.astype({"cell": "int64", **dict.fromkeys(NUMBERS, float)})
    return Evidence(pd.DataFrame(list(lines)), finite(table))


def is_own(column: str) -> bool:
    """Tell what is known of a cell from its settings."""
    return column in OWN or column.startswith("environment.")


def missing(value: object) -> bool:
    """Tell whether a table's field is blank."""
    return value is None or value != value


def plain(value: Any) -> Any:
    """Give a Python value; a whole number that a column with blanks made a float is whole again."""
    if isinstance(value, np.generic):
        value = value.item()
    whole = isinstance(value, float) and abs(value) < 2**53 and value.is_integer()
    return int(value) if whole else value


def finite(rows: pd.DataFrame) -> pd.DataFrame:
    """Blank what is not finite, with a status: probes write such rows themselves."""
    infinite = np.isinf(rows[list(NUMBERS)])
    ends = (infinite["low"] | infinite["high"]) & (rows["status"] == "ok")
    rows.loc[ends, "status"] = "unbounded"
    gone = (rows["value"].isna() | infinite["value"]) & rows["status"].isin(["ok", "unbounded"])
    gone &= ~(rows["status"].eq("unbounded") & rows["low"].notna() & ~infinite["low"])
    rows.loc[gone, "status"] = "missing"
    rows[list(NUMBERS)] = rows[list(NUMBERS)].mask(infinite)
    return rows


def _whole(column: pd.Series[Any]) -> pd.Series[Any]:
    """Make whole numbers such, which a column with blanks made floats."""
    if column.dtype.kind != "f" or not (column % 1 == 0).all() or column.abs().max() >= 2**53:
        return column
    return column.astype("int64")
