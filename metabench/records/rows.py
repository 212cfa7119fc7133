"""What probes hand on: measured rows, and findings made from them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from metabench.stats.intervals import Interval

if TYPE_CHECKING:
    import pandas as pd

LEVELS = ("critical", "warning", "info")
STATES = {  # of what a finding judges
    "fault": "The interval or error bound lies outside of what is fine.",
    "fine": "The interval or error bound lies inside of what is fine.",
    "undecided": "The measurement can't tell.",
    "not_looked_at": "It was not measured, or not to the end.",
    "": "The finding is a remark and judges nothing.",
}


class Row(NamedTuple):
    """One measured number.

    A number that is missing or not finite is None, and `status`, a word of `statuses.STATUSES`,
    says why.
    """

    quantity: str
    at: float | None = None  # B, K, shots, ...
    of: str = ""  # a source, a solver, ..., an open list; "" is the whole
    layer: str = ""  # a layout segment; "" is all parameters
    value: float | None = None
    low: float | None = None
    high: float | None = None
    status: str = "ok"


Rows = Mapping[str, Sequence[Row]]  # by quantity


class Finding(NamedTuple):
    """One sentence with its numbers, what to change, and the rows it rests on."""

    name: str
    level: str  # critical, warning or info
    state: str  # of STATES; "" for a remark that judges nothing
    claim: str
    repair: str
    evidence: tuple[Row, ...]


def row(quantity: str, interval: Interval, status: str = "ok", **where: Any) -> Row:
    """Make a row of an interval; what isn't finite becomes None, with a status.

    >>> row("noise_scale", Interval(40.0, 21.0, math.inf)).status
    'unbounded'
    """
    value, low, high = (float(x) if math.isfinite(x) else None for x in interval)
    if status == "ok":
        if value is None:
            status = "overflow"
        elif math.isinf(interval.high) or math.isinf(interval.low):
            status = "unbounded"
    return Row(quantity, value=value, low=low, high=high, status=status, **where)


def to_table(rows: Iterable[Row], spec: Mapping[str, Any] | None = None) -> pd.DataFrame:
    """Lay rows out as a tidy table, a number a line, with the spec's settings as columns."""
    import pandas as pd

    table = pd.DataFrame(list(rows), columns=list(Row._fields))
    numbers = ["at", "value", "low", "high"]
    table[numbers] = table[numbers].astype(float)
    settings = pd.DataFrame([dict(flatten(spec or {}))] * len(table))
    return pd.concat([settings, table], axis=1)


def flatten(spec: Mapping[str, Any], prefix: str = "") -> Iterable[tuple[str, Any]]:
    """Yield a nested spec as dotted columns; a member's name stands under its own key.

    >>> dict(flatten({"algo": {"name": "maml", "steps": 1}}))
    {'algo': 'maml', 'algo.steps': 1}
    """
    for key, value in spec.items():
        path = prefix if key == "name" and prefix else f"{prefix}.{key}".lstrip(".")
        if isinstance(value, Mapping):
            yield from flatten(value, path)
        elif isinstance(value, list | tuple):
            yield path, " ".join(map(str, value))
        else:
            yield path, value


def differences(there: Mapping[str, Any], here: Mapping[str, Any]) -> list[str]:
    """Say which fields of two specs differ.

    >>> differences({"algo": {"name": "maml", "steps": 5}}, {"algo": {"name": "maml", "steps": 1}})
    ['algo.steps is 5 there and 1 here']
    """
    one, other = dict(flatten(there)), dict(flatten(here))
    return [
        f"{name} is {one.get(name, 'not set')} there and {other.get(name, 'not set')} here"
        for name in dict.fromkeys([*one, *other])
        if one.get(name) != other.get(name)
    ]


def from_table(
    table: pd.DataFrame | Rows, quantity: str, of: str | None = "", layer: str | None = ""
) -> list[Row]:
    """Read the rows of one quantity back, in order: the whole, or one source; None reads all."""
    if isinstance(table, Mapping):
        rows = table.get(quantity, [])
    else:
        (places,) = (table["quantity"].to_numpy() == quantity).nonzero()
        columns = [table[name].to_numpy()[places].tolist() for name in Row._fields if len(places)]
        rows = rows_from_tuples(zip(*columns, strict=True))
    return [row for row in rows if of in (None, row.of) and layer in (None, row.layer)]


def by_quantity(table: pd.DataFrame) -> Rows:
    """Read all rows at once, for who asks for many quantities: a report does of every cell."""
    found: dict[str, list[Row]] = {}
    columns = [table[name].tolist() for name in Row._fields]
    for row in rows_from_tuples(zip(*columns, strict=True)):
        found.setdefault(row.quantity, []).append(row)
    return found


def rows_from_tuples(lines: Iterable[Sequence[Any]]) -> list[Row]:
    """Make rows of tuples in a Row's order, as a table holds them: a blank is None again."""
    return [Row(*map(_or_none, line)) for line in lines]


def _or_none(value: Any) -> Any:
    return None if isinstance(value, float) and math.isnan(value) else value
