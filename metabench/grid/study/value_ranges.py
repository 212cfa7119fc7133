"""Values of a setting in a study file: lists and ranges, computed when they are asked for."""

from __future__ import annotations

import itertools
import math
import re
import typing
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from metabench.settings.errors import InvalidInput, unknown

RANGES = ("log", "linear", "range")
MOST_VALUES = 1_000_000  # of one setting


@dataclass(frozen=True)
class Span(Sequence[Any]):
    """The values of a range, each computed when it is asked for."""

    length: int
    value: Callable[[int], Any]  # of an index

    def __len__(self) -> int:
        """Return the number of values."""
        return self.length

    def __getitem__(self, index: Any) -> Any:
        """Return the value at an index from 0."""
        if not 0 <= index < self.length:
            raise IndexError(index)
        return self.value(index)


def values(value: Any, kind: Any) -> Sequence[Any]:
    """Return the values that a study gives a field of this type.

    >>> list(values("log(0.01, 1, 3)", float)), values([1, 2], int), values([1], tuple[int, ...])
    ([0.01, 0.1, 1.0], [1, 2], [[1]])
    """
    if typing.get_origin(kind) is tuple:
        return _tuples(value)
    if isinstance(value, list):
        return _listed(value, kind)
    if isinstance(value, str) and kind in (int, float) and "(" in value:
        return span(value, kind)
    return [value]


def span(text: str, kind: type) -> Sequence[float]:
    """Return the values of `log(first, last, count)`, `linear(..)` or `range(first, end)`.

    Numbers are rounded to twelve digits, so that their digest is that of the number typed out.
    """
    match = re.fullmatch(r"(\w+)\(([^()]*)\)", text.replace(" ", ""))
    if match is None or match[1] not in RANGES:
        raise unknown("range", text if match is None else match[1], RANGES, " of values")
    usage = InvalidInput(
        f"{text} can't be read. Write log(1e-3, 1, 7) with positive ends, linear(0, 1, 5) or "
        "range(0, 10), which excludes the last number."
    )
    try:
        numbers = [float(part) for part in match[2].split(",")]
        if not all(map(math.isfinite, numbers)):
            raise usage
        found = _RANGES[match[1]](*numbers)
    except (TypeError, ValueError, OverflowError):
        raise usage from None
    if not found.length:
        raise usage
    require_few(found.length, text)
    if kind is int and match[1] != "range":
        return [_whole(number, text) for number in found]
    return Span(found.length, lambda i: kind(found.value(i)))


def require_few(count: int, given: str) -> None:
    """Check that a setting has no more values than a study can use.

    Raises:
        InvalidInput: if it has.
    """
    if count > MOST_VALUES:
        raise InvalidInput(
            f"{given} has {count:,} values; a setting takes at most {MOST_VALUES:,}. Give fewer."
        )


def _listed(value: list[Any], kind: Any) -> list[Any]:
    """List the values of a list, which may contain ranges and lists."""
    if not value:
        raise InvalidInput("The list is empty; give at least one value.")
    found = itertools.chain.from_iterable(values(one, kind) for one in value)
    few = list(itertools.islice(found, MOST_VALUES + 1))
    if len(few) > MOST_VALUES:
        raise InvalidInput(
            f"The list has more than {MOST_VALUES:,} values, the most of a setting. Give fewer."
        )
    return few


def _tuples(value: Any) -> list[Any]:
    """Return the values of a field that holds a list: a list of lists has several."""
    several = isinstance(value, list) and any(isinstance(one, list) for one in value)
    return list(value) if several else [value]


def _linear(first: float, last: float, count: float) -> Span:
    if not math.isfinite(last - first):
        raise ValueError
    return Span(_steps(count) + 1, lambda i: _twelve(_between(first, last, i, count)))


def _log(first: float, last: float, count: float) -> Span:
    low, high = math.log(first), math.log(last)
    return Span(_steps(count) + 1, lambda i: _twelve(math.exp(_between(low, high, i, count))))


def _steps(count: float) -> int:
    steps = int(count) - 1
    if count != int(count) or steps < 1:
        raise ValueError
    return steps


def _between(first: float, last: float, i: int, count: float) -> float:
    return first + (last - first) * i / (int(count) - 1)


def _range(*ends: float) -> Span:
    if any(end != int(end) for end in ends) or len(ends) > 2:
        raise ValueError
    first, end = (0, int(ends[0])) if len(ends) == 1 else map(int, ends)
    return Span(max(end - first, 0), lambda i: first + i)


def _twelve(number: float) -> float:
    return float(f"{number:.12g}")


def _whole(number: float, text: str) -> int:
    if number != round(number):
        raise InvalidInput(f"{text} contains {number}; this setting takes whole numbers.")
    return round(number)


_RANGES: dict[str, Callable[..., Span]] = {"log": _log, "linear": _linear, "range": _range}
