"""One quantity of a table by name: a number with its interval, or a sentence with the choices."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from metabench.records.number_format import interval_text, number
from metabench.records.rows import Row, from_table
from metabench.settings.errors import InvalidInput, unknown

if TYPE_CHECKING:
    import pandas as pd

MOST_CHOICES = 8  # named in a message


class Quantity(NamedTuple):
    """A number with its 95 % interval; what is missing is None, and the status says why."""

    value: float | None
    low: float | None
    high: float | None
    status: str = "ok"

    def __str__(self) -> str:
        """Write it as tables do: 5.61 [5.13, 6.13]."""
        text = self.status.replace("_", " ") if self.value is None else number(self.value)
        if self.low is None and self.high is None:
            return text
        return f"{text} {interval_text(self.low, self.high)}"


class AmbiguousQuantity(InvalidInput, AttributeError):
    """A name stands for several numbers of a table; the message shows the choices."""


def quantity(
    table: pd.DataFrame,
    name: str,
    of: str | None = None,
    at: float | None = None,
    layer: str = "",
) -> Quantity:
    """Return one number of a table with its interval.

    Args:
        table: the tidy table.
        name: of the quantity.
        of: its source, method or objective; None: the whole, if that is one number.
        at: the value of the probe's axis, such as B; None: the number that has none, if one has.
        layer: a layer; "" is all of theta.

    >>> import metabench as mb
    >>> rows = [mb.Row("variance", at=float(B), value=8.0 / B) for B in (1, 2)]
    >>> quantity(mb.to_table(rows), "variance", at=2).value
    4.0

    Raises:
        InvalidInput: if there is none, or several.
    """
    names = list(dict.fromkeys(table.loc[table["layer"] == layer, "quantity"]))
    if name not in names:
        where = f" of layer {layer!r}" if layer else " in this table"
        raise unknown("quantity", name, names, where)
    rows = from_table(table, name, of=None, layer=layer)
    found = _chosen(rows, of, at)
    if len(found) != 1:
        count = f"{len(found)} numbers" if found else "no number"
        asked = ", ".join(_choice(of, at, name_all=True))
        begin = f"{name} has {count}" + (f" with {asked}" if asked and not found else "")
        raise AmbiguousQuantity(f"{begin}; choose one: {_choices(name, found or rows)}.")
    return Quantity(found[0].value, found[0].low, found[0].high, found[0].status)


def _chosen(rows: Sequence[Row], of: str | None, at: float | None) -> list[Row]:
    """Return the rows that are meant; the whole is preferred where nothing else is asked for."""
    found = [r for r in rows if of in (None, r.of) and at in (None, r.at)]
    if of is None:
        found = _whole(found, [r for r in found if r.of == ""])
    return _whole(found, [r for r in found if r.at is None]) if at is None else found


def _whole(found: list[Row], whole: list[Row]) -> list[Row]:
    return whole if len(found) > 1 and whole else found


def _choice(of: str | None, at: float | None, name_all: bool = False) -> list[str]:
    parts = [f"of={of!r}"] if of or (name_all and of is not None) else []
    return [*parts, *([f"at={number(at)}"] if at is not None else [])]


def _choices(name: str, rows: Sequence[Row]) -> str:
    calls = [f".quantity({', '.join([repr(name), *_choice(r.of, r.at)])})" for r in rows]
    calls = list(dict.fromkeys(calls))
    more = len(calls) - MOST_CHOICES
    return ", ".join(calls[:MOST_CHOICES]) + (f" and {more} more" if more > 0 else "")
