"""What a report is made of: cells, a line each, and the numbers measured in them."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from metabench.records.rows import Row
from metabench.settings.errors import Misuse

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


def _whole(column: pd.Series[Any]) -> pd.Series[Any]:
    """Make whole numbers such, which a column with blanks made floats."""
    if column.dtype.kind != "f" or not (column % 1 == 0).all() or column.abs().max() >= 2**53:
        return column
    return column.astype("int64")


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


def split(table: pd.DataFrame, called: str) -> Evidence:
    """Take a wide tidy table apart: lines that share their settings (and digest) are one cell.

    Raises:
        Misuse: if it lacks the columns of a tidy table, or holds text for numbers.
    """
    import pandas as pd

    if absent := [name for name in ("quantity", "value") if name not in table]:
        raise Misuse(
            f"{called} has no column {absent[0]!r}; a report is made of tidy tables, as --csv, "
            "metabench show --csv and metabench report --table write them."
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
    failed = rows["quantity"] == "cell"  # how a tidy table tells of a cell without numbers
    outcome = pd.Series("ok", index=cells.index, dtype=object)
    outcome[rows["cell"][rows["status"] == "diverged"].unique()] = "diverged"
    outcome[rows["cell"][failed].to_numpy()] = rows["status"][failed].to_numpy()
    if "outcome" not in cells:
        cells["outcome"] = outcome
    return Evidence(cells, _finite(rows[~failed].reset_index(drop=True)))


def joined(parts: Sequence[Evidence]) -> Evidence:
    """Put several together; a cell that comes twice, by its digest or settings, counts once."""
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
        notes.append(f"{twice.sum():,} cells came more than once; the first of each is shown.")
    for name in OWN:
        if name not in cells:
            cells[name] = ""
    return Evidence(cells, rows, tuple(notes))


def wide(evidence: Evidence) -> pd.DataFrame:
    """Lay everything out as one tidy table, which `split` takes apart again."""
    import pandas as pd

    cells, rows = evidence.cells, evidence.rows
    bare = cells.index.difference(pd.Index(rows["cell"].unique()))
    if len(bare):
        line: dict[str, Any] = {"quantity": "cell", "of": "", "layer": ""}
        line |= dict.fromkeys(NUMBERS, float("nan"))
        told = pd.DataFrame({"cell": bare, **line, "status": cells["outcome"][bare].to_numpy()})
        rows = pd.concat([rows, told], ignore_index=True)
    kept = [name for name in cells if name != "source" and not _blank(cells[name])]
    about = cells[kept].take(rows["cell"].to_numpy()).reset_index(drop=True)
    return pd.concat([about, rows[list(Row._fields)].reset_index(drop=True)], axis=1)


def _blank(column: pd.Series[Any]) -> bool:
    return bool((column.isna() | (column.astype(str) == "")).all())


def _twice(cells: pd.DataFrame) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """Mark the cells that an earlier line tells of already."""
    settings = [name for name in cells if not is_own(str(name))]
    named = cells["digest"].fillna("") if "digest" in cells else cells["outcome"].map(lambda _: "")
    known: set[Any] = set()
    marks = []
    lines = cells[settings].itertuples(index=False, name=None)
    for digest, line in zip(named, lines, strict=True):
        key = digest or tuple("" if missing(v) else str(plain(v)) for v in line)
        marks.append(key in known)
        known.add(key)
    return np.array(marks, dtype=bool)


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
        raise Misuse(f"{called}, column {name!r} must hold numbers: {error}.") from error


def _finite(rows: pd.DataFrame) -> pd.DataFrame:
    """Blank what is not finite, with a status: probes write such rows themselves."""
    infinite = np.isinf(rows[list(NUMBERS)])
    ends = (infinite["low"] | infinite["high"]) & (rows["status"] == "ok")
    rows.loc[ends, "status"] = "unbounded"
    gone = (rows["value"].isna() | infinite["value"]) & rows["status"].isin(["ok", "unbounded"])
    gone &= ~(rows["status"].eq("unbounded") & rows["low"].notna() & ~infinite["low"])
    rows.loc[gone, "status"] = "missing"
    rows[list(NUMBERS)] = rows[list(NUMBERS)].mask(infinite)
    return rows


def of_cells(lines: Sequence[Mapping[str, Any]], rows: Sequence[tuple[int, Row]]) -> Evidence:
    """Make evidence of plain values: a mapping a cell, and numbered rows."""
    import pandas as pd

    table = pd.DataFrame([(i, *row) for i, row in rows], columns=["cell", *Row._fields])
    table = table.astype({"cell": "int64", **dict.fromkeys(NUMBERS, float)})
    return Evidence(pd.DataFrame(list(lines)), _finite(table))
