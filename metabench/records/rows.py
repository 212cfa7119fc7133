"""Rows that probes measure, findings made from them, and tables of rows."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from metabench.stats.intervals import Interval

if TYPE_CHECKING:
    import pandas as pd

LEVELS = ("critical", "warning", "info")
STATES = {  # of what a finding judges
    "fault": "The interval or error bound lies outside the acceptable range.",
    "fine": "The interval or error bound lies inside the acceptable range.",
    "undecided": "The measurement can't decide.",
    "not_looked_at": "The measurement was not made, or not finished.",
    "": "The finding is a remark and judges nothing.",
}


class Row(NamedTuple):
    """One measured number, with its interval and status.

    A number that is missing or not finite is None, and `status`, a word of `statuses.STATUSES`,
    says why.

    >>> import metabench as mb
    >>> mb.Row("variance", at=4.0, value=0.5, low=0.4, high=0.6).status
    'ok'
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
    """A statement with its numbers, what to change, and the rows that support it.

    >>> import metabench as mb
    >>> row = mb.Row("noise_scale", value=5.6)
    >>> mb.Finding("noise_scale", "info", "fine", "Noise is low.", "", (row,)).evidence[0].value
    5.6
    """

    name: str
    level: str  # critical, warning or info
    state: str  # of STATES; "" for a remark that judges nothing
    claim: str
    repair: str
    evidence: tuple[Row, ...]


def row(quantity: str, interval: Interval, status: str = "ok", **where: Any) -> Row:
    """Return a row of an interval; numbers that are not finite become None, with a status.

    Args:
        quantity: of the row.
        interval: its value, low and high.
        status: of the row; "ok" becomes overflow or unbounded where a number is not finite.
        where: the row's `at`, `of` and `layer`.

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
    """Return rows as a tidy table, one number per line, with the spec's settings as columns.

    >>> import metabench as mb
    >>> mb.to_table([mb.Row("variance", at=4.0, value=0.5)], {"seed": 0}).shape
    (1, 9)
    """
    import pandas as pd

    table = pd.DataFrame(list(rows), columns=list(Row._fields))
    numbers = ["at", "value", "low", "high"]
    table[numbers] = table[numbers].astype(float)
    settings = pd.DataFrame([dict(flatten(spec or {}))] * len(table))
    return pd.concat([settings, table], axis=1)


def flatten(spec: Mapping[str, Any], prefix: str = "") -> Iterable[tuple[str, Any]]:
    """Yield a nested spec as dotted columns; a member's name is the value of its own key.

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
    """Return one sentence for each field in which two specs differ.

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
    """Return the rows of one quantity, in order.

    Args:
        table: tidy table, or rows by quantity.
        quantity: of the rows.
        of: value of their `of`; None returns all.
        layer: value of their `layer`; None returns all.
    """
    if isinstance(table, Mapping):
        rows = table.get(quantity, [])
    else:
        (places,) = (table["quantity"].to_numpy() == quantity).nonzero()
        columns = [table[name].to_numpy()[places].tolist() for name in Row._fields if len(places)]
        rows = rows_from_tuples(zip(*columns, strict=True))
    return [row for row in rows if of in (None, row.of) and layer in (None, row.layer)]


def by_quantity(table: pd.DataFrame) -> Rows:
    """Return all rows by quantity, for callers that look up many quantities."""
    found: dict[str, list[Row]] = {}
    columns = [table[name].tolist() for name in Row._fields]
    for row in rows_from_tuples(zip(*columns, strict=True)):
        found.setdefault(row.quantity, []).append(row)
    return found


def rows_from_tuples(lines: Iterable[Sequence[Any]]) -> list[Row]:
    """Return rows from tuples in a Row's order; NaN becomes None."""
    return [Row(*map(_or_none, line)) for line in lines]


def _or_none(value: Any) -> Any:
    return None if isinstance(value, float) and math.isnan(value) else value
