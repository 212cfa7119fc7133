"""From the values of a study file to points: lists, ranges, what is zipped and what is crossed."""

from __future__ import annotations

import dataclasses
import itertools
import math
import re
import typing
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from metabench.grid.study.toml_lines import Place
from metabench.settings import fields, registry
from metabench.settings.errors import Misuse, inside, unknown
from metabench.settings.nested_keys import nest

Axes = dict[Place, list[Any]]
RANGES = ("log", "linear", "range")


def axes(cls: type[Any], table: Mapping[str, Any], at: Place, kind: str = "") -> Axes:
    """Map each setting of a class's table to its values; a setting of one value has a list of one.

    Args:
        cls: a dataclass; its field types say what a list means.
        table: settings as the study file has them.
        at: where the table stands.
        kind: the kind of member, whose table may name several.
    """
    types, found = fields.types_of(cls), Axes()
    for key, value in table.items():
        with inside(key):
            nested = fields.NESTED.get(getattr(types.get(key), "__name__", ""))
            if key == "name" and kind:
                found[*at, key] = value if isinstance(value, list) else [value]
            elif nested and isinstance(value, Mapping):
                inner = member(nested, value, default(cls, key))
                found |= axes(inner, value, (*at, key), nested)
            elif nested and isinstance(value, list):
                found[*at, key] = [one for each in value for one in _variants(nested, each)]
            else:
                found[*at, key] = values(value, types.get(key))
    return found


def member(kind: str, table: Mapping[str, Any], otherwise: type[Any] | None = None) -> type[Any]:
    """Give the class that a member's table names, the first where it names several.

    Raises:
        Misuse: if it names none and there is no class otherwise.
    """
    name = table.get("name", otherwise)
    if isinstance(name, type):
        return name
    if not name:
        raise Misuse(f"It names no {registry.KINDS[kind][1]}; add name = ...")
    with inside("name"):
        cls = registry.load(kind, str(name[0] if isinstance(name, list) else name))
        if not isinstance(cls, type):
            raise Misuse(f"{name!r} is no class.")
    return cls


def default(cls: type[Any], field: str) -> type[Any]:
    """Give the class that a nested field holds unless told."""
    found = next(each for each in dataclasses.fields(cls) if each.name == field)
    return type(found.default_factory() if callable(found.default_factory) else found.default)


def values(value: Any, kind: Any) -> list[Any]:
    """List the values that a study gives a field of this type.

    >>> values("log(0.01, 1, 3)", float), values([1, 2], int), values([1, 2], tuple[int, ...])
    ([0.01, 0.1, 1.0], [1, 2], [[1, 2]])
    """
    if typing.get_origin(kind) is tuple:
        many = isinstance(value, list) and any(isinstance(one, list) for one in value)
        return list(value) if many else [value]
    if isinstance(value, list):
        if not value:
            raise Misuse("The list is empty; give at least one value.")
        return [part for one in value for part in values(one, kind)]
    if isinstance(value, str) and kind in (int, float) and "(" in value:
        return span(value, kind)
    return [value]


def span(text: str, kind: type) -> list[float]:
    """Write out `log(first, last, count)`, `linear(first, last, count)` or `range(first, end)`.

    Numbers are kept to twelve digits, so that they have the address of the same number typed out.
    """
    match = re.fullmatch(r"(\w+)\(([^()]*)\)", text.replace(" ", ""))
    if match is None or match[1] not in RANGES:
        raise unknown("range", text if match is None else match[1], RANGES, " of values")
    usage = Misuse(
        f"{text} can't be read; write log(1e-3, 1, 7) with positive ends, linear(0, 1, 5) or "
        "range(0, 10), the last number of which is left out."
    )
    try:
        numbers = [float(part) for part in match[2].split(",")]
        found = _RANGES[match[1]](*numbers)
    except (TypeError, ValueError):
        raise usage from None
    if not found:
        raise usage
    return [_whole(number, text) if kind is int else number for number in found]


def points(axes: Axes, zipped: Sequence[Sequence[Place]]) -> Iterator[dict[str, Any]]:
    """Yield the settings of every point: zipped axes move together, all others are crossed."""
    together = [[path for path in group if path in axes] for group in zipped]
    taken = {path for group in together for path in group}
    groups = [group for group in together if group]
    groups += [[path] for path in axes if path not in taken]
    for group in groups:
        _expect_same_length(axes, group)
    for choice in itertools.product(*(range(len(axes[group[0]])) for group in groups)):
        chosen = zip(groups, choice, strict=True)
        yield nest({path: axes[path][i] for group, i in chosen for path in group})


def _variants(kind: str, each: Any) -> list[Any]:
    """Give the members that one entry of a list stands for: a name, or a table with axes inside."""
    if not isinstance(each, Mapping):
        return [each]
    inner = axes(member(kind, each), each, (), kind)
    return list(points(inner, ()))


def _expect_same_length(axes: Axes, group: Sequence[Place]) -> None:
    lengths = {".".join(path): len(axes[path]) for path in group}
    if len(set(lengths.values())) > 1:
        told = ", ".join(f"{name} {length}" for name, length in lengths.items())
        with inside("zip"):
            raise Misuse(f"Zipped axes must be equally long; values given: {told}.")


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
        raise Misuse(f"{text} gives {number}; it must give whole numbers.")
    return round(number)


_RANGES: dict[str, Callable[..., list[float]]] = {"log": _log, "linear": _linear, "range": _range}
