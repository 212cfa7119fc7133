"""From a store to tables: a cell a line, and a measured number a line; failures are lines too."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from metabench.records.rows import Row, flatten
from metabench.records.store.parquet_snapshot import read_snapshot
from metabench.records.store.store import Store
from metabench.settings.errors import InvalidInput

if TYPE_CHECKING:
    import pandas as pd

NUMBERS = ["at", "value", "low", "high"]
# What is known of a cell besides its settings.
OWN = ["digest", "outcome", "seconds", "peak_bytes", "environment", "attempts", "error"]


class Tables(NamedTuple):
    """What a store holds, in two tables: `rows.cell` is a line number of `cells`."""

    cells: pd.DataFrame  # OWN, and the spec's settings
    rows: pd.DataFrame  # cell, and the columns of a Row
    broken: tuple[str, ...] = ()  # sentences about files that can't be read


def tables(store: Store, digests: Iterable[str] | None = None) -> Tables:
    """Read the snapshot, if there is one, and every record that is newer, in order of digests."""
    store.require_readable()
    snapshot = read_snapshot(store.folder)
    standing = store.standing() if snapshot else dict.fromkeys(store.on_record(), "")
    wanted = standing.keys() if digests is None else standing.keys() & set(digests)
    if snapshot is None:
        return _from_records(store, wanted)
    # A failure isn't in a snapshot, and a cell that was removed or damaged since counts no more.
    old = Tables(*snapshot)
    whole = {digest for digest in wanted if standing[digest] == "done"}
    known = set(old.cells["digest"]) & whole
    kept = old if len(known) == len(old.cells) else _only(old, known)
    return _joined(kept, _from_records(store, wanted - known))


def tidy(found: Tables) -> pd.DataFrame:
    """Lay out every measured number with its cell's settings; a cell without any is one line."""
    import pandas as pd

    bare = found.cells.index.difference(list(found.rows["cell"].unique()))
    rows = found.rows
    if len(bare):
        outcomes = found.cells.loc[bare, "outcome"].astype(str).to_numpy()
        lines = {"cell": bare, "quantity": "cell", "of": "", "layer": "", "status": outcomes}
        blank = dict.fromkeys(NUMBERS, float("nan"))
        rows = pd.concat([rows, pd.DataFrame({**lines, **blank})], ignore_index=True)
    settings = found.cells.drop(columns="error").take(rows["cell"].to_numpy())
    settings.index = rows.index
    return pd.concat([settings, rows[list(Row._fields)]], axis=1)


def varying(cells: pd.DataFrame) -> list[str]:
    """List the settings in which cells differ, beyond some of them not having it.

    A setting that only some members have, at one value, says no more than the member's name.
    """
    settings = [str(name) for name in cells if name not in OWN]
    return [name for name in settings if cells[name].nunique() > 1]


def setting_text(setting: object) -> str:
    """Write a setting as text; one that a cell's members don't have is blank."""
    return "" if isinstance(setting, float) and setting != setting else str(setting)


def _from_records(store: Store, digests: Iterable[str]) -> Tables:
    records, broken = [], []
    for digest in sorted(digests):
        try:
            record = store.read(digest)
        except InvalidInput as error:
            broken.append(str(error))
        else:
            records += [record] if record else []
    return Tables(_cells(records), _rows(records), tuple(broken))


def _cells(records: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    import pandas as pd

    lines = [
        {
            "digest": record["digest"],
            "outcome": record["outcome"],
            "seconds": record["seconds"],
            "peak_bytes": float(record.get("peak_bytes", "nan")),
            "environment": record["provenance"].get("environment", ""),
            "attempts": len(record["attempts"]),
            "error": record.get("error", ""),
            **dict(flatten(record["spec"])),
        }
        for record in records
    ]
    return pd.DataFrame(lines) if lines else pd.DataFrame(columns=OWN)


def _rows(records: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    import pandas as pd

    lines = [
        (i, *(row.get(name) for name in Row._fields))
        for i, record in enumerate(records)
        for row in record["rows"]
    ]
    table = pd.DataFrame(lines, columns=["cell", *Row._fields])
    return table.astype({"cell": "int64", **dict.fromkeys(NUMBERS, float)})


def _joined(first: Tables, second: Tables) -> Tables:
    import pandas as pd

    if not len(second.cells):
        return first._replace(broken=second.broken)
    moved = second.rows.assign(cell=second.rows["cell"] + len(first.cells))
    cells = pd.concat([first.cells, second.cells], ignore_index=True)
    rows = pd.concat([first.rows, moved], ignore_index=True)
    return Tables(cells, rows, second.broken)


def _only(found: Tables, digests: set[str]) -> Tables:
    """Keep some cells, and number their rows anew."""
    kept = found.cells["digest"].isin(digests).to_numpy()
    number = kept.cumsum() - 1
    rows = found.rows[kept[found.rows["cell"].to_numpy()]]
    rows = rows.assign(cell=number[rows["cell"].to_numpy()]).reset_index(drop=True)
    return Tables(found.cells[kept].reset_index(drop=True), rows, found.broken)
