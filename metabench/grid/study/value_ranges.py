"""Values of a setting in a study file: lists and ranges."""

from __future__ import annotations

import math
import re
import typing
from collections.abc import Callable
from typing import Any

from metabench.settings.errors import InvalidInput, unknown

RANGES = ("log", "linear", "range")


def values(value: Any, kind: Any) -> list[Any]:
    """List the values that a study gives a field of this type.

    >>> values("log(0.01, 1, 3)", float), values([1, 2], int), values([1, 2], tuple[int, ...])
    ([0.01, 0.1, 1.0], [1, 2], [[1, 2]])
    """
    if typing.get_origin(kind) is tuple:
        return _tuples(value)
    if isinstance(value, list):
        if not value:
            raise InvalidInput("The list is empty; give at least one value.")
        return [part for one in value for part in values(one, kind)]
    if isinstance(value, str) and kind in (int, float) and "(" in value:
        return span(value, kind)
    return [value]


def span(text: str, kind: type) -> list[float]:
    """List the values of `log(first, last, count)`, `linear(..)` or `range(first, end)`.

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
        found = _RANGES[match[1]](*numbers)
    except (TypeError, ValueError):
        raise usage from None
    if not found:
        raise usage
    return [_whole(number, text) if kind is int else number for number in found]


def _tuples(value: Any) -> list[Any]:
    """Return the values of a field that holds a list: a list of lists has several."""
    several = isinstance(value, list) and any(isinstance(one, list) for one in value)
    return list(value) if several else [value]


def _linear(first: float, last: float, count: float) -> list[float]:
    return [_twelve(number) for number in _spaced(first, last, count)]


def _log(first: float, last: float, count: float) -> list[float]:
    return [_twelve(math.exp(x)) for x in _spaced(math.log(first), math.log(last), count)]


def _spaced(first: float, last: float, count: float) -> list[float]:
    steps = int(count) - 1
    if count != int(count) or steps < 1:
        raise ValueError
    return [first + (last - first) * i / steps for i in range(steps + 1)]


def _range(*ends: float) -> list[float]:
    if any(end != int(end) for end in ends) or len(ends) > 2:
        raise ValueError
    return [float(i) for i in range(*map(int, ends))]


def _twelve(number: float) -> float:
    return float(f"{number:.12g}")


def _whole(number: float, text: str) -> int:
    if number != round(number):
        raise InvalidInput(f"{text} contains {number}; this setting takes whole numbers.")
    return round(number)


_RANGES: dict[str, Callable[..., list[float]]] = {"log": _log, "linear": _linear, "range": _range}
