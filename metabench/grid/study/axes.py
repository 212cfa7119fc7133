"""Axes of a study file, and the points of settings they span, zipped or crossed."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from metabench.grid.study.toml_lines import Place
from metabench.grid.study.value_ranges import require_few, values
from metabench.settings import fields, registry
from metabench.settings.errors import InvalidInput, inside
from metabench.settings.nested_keys import nest

Axes = dict[Place, Sequence[Any]]


def axes(cls: type[Any], table: Mapping[str, Any], at: Place, kind: str = "") -> Axes:
    """Map each setting of a class's table to its values; a setting of one value has a list of one.

    Args:
        cls: a dataclass; its field types say what a list means.
        table: settings as the study file has them.
        at: the table's place in the study file.
        kind: the kind of member (algorithms, ...), whose `name` may be a list.
    """
    types, found = fields.types_of(cls), Axes()
    for key, value in table.items():
        with inside(key):
            nested = fields.NESTED.get(getattr(types.get(key), "__name__", ""))
            if key == "name" and kind:
                found[*at, key] = _names(kind, value)
            elif nested and isinstance(value, Mapping):
                inner = member(nested, value, default(cls, key))
                found |= axes(inner, value, (*at, key), nested)
            elif nested and isinstance(value, list):
                found[*at, key] = _all_variants(nested, value)
            else:
                found[*at, key] = values(value, types.get(key))
    return found


def member(kind: str, table: Mapping[str, Any], otherwise: type[Any] | None = None) -> type[Any]:
    """Return the class that a member's table names, the first if it names several.

    Args:
        kind: the kind of member (algorithms, families, ...).
        table: its settings as the study file has them.
        otherwise: the class of a table without a name.

    Raises:
        InvalidInput: if the table has no name and there is no other class.
    """
    name = table.get("name", otherwise)
    if isinstance(name, type):
        return name
    if name is None or name == "":
        raise InvalidInput(f"The name of the {registry.KINDS[kind][1]} is missing; add name = ...")
    with inside("name"):
        return fields.class_of(kind, _names(kind, name)[0])


def default(cls: type[Any], field: str) -> type[Any]:
    """Return the class of a nested field's default value."""
    found = next(each for each in dataclasses.fields(cls) if each.name == field)
    return type(found.default_factory() if callable(found.default_factory) else found.default)


def groups(axes: Axes, zipped: Sequence[Sequence[Place]]) -> list[list[Place]]:
    """Return the groups of zipped axes, then each other axis as a group of one.

    Raises:
        InvalidInput: if zipped axes have unequally many values.
    """
    together = [[path for path in group if path in axes] for group in zipped]
    taken = {path for group in together for path in group}
    found = [group for group in together if group]
    found += [[path] for path in axes if path not in taken]
    for group in found:
        _expect_same_length(axes, group)
    return found


def count(axes: Axes, grouped: Sequence[Sequence[Place]]) -> int:
    """Return the number of points that axes in these groups span."""
    return math.prod(len(axes[group[0]]) for group in grouped)


def points(axes: Axes, grouped: Sequence[Sequence[Place]]) -> Iterator[dict[str, Any]]:
    """Yield the settings of every point: the axes of a group move together, groups are crossed."""
    for choice in itertools.product(*(range(len(axes[group[0]])) for group in grouped)):
        yield chosen(axes, grouped, choice)


def point(axes: Axes, grouped: Sequence[Sequence[Place]], index: int) -> dict[str, Any]:
    """Return the settings of one point, in the order of `points`.

    Args:
        axes: the values of each setting.
        grouped: groups of axes that move together.
        index: of the point, from 0.
    """
    choice = []
    for group in reversed(grouped):
        index, i = divmod(index, len(axes[group[0]]))
        choice.append(i)
    return chosen(axes, grouped, choice[::-1])


def chosen(axes: Axes, grouped: Sequence[Sequence[Place]], choice: Sequence[int]) -> dict[str, Any]:
    """Return the settings of one point.

    Args:
        axes: the values of each setting.
        grouped: groups of axes that move together.
        choice: the index of each group's value.
    """
    pairs = zip(grouped, choice, strict=True)
    return nest({path: axes[path][i] for group, i in pairs for path in group})


def _names(kind: str, value: Any) -> list[str]:
    """Return the names of members that a table gives, each of which must exist."""
    names = value if isinstance(value, list) else [value]
    if not names:
        raise InvalidInput("The list is empty; give at least one name.")
    for name in names:
        if not isinstance(name, str):
            raise InvalidInput(
                f"The name of the {registry.KINDS[kind][1]} is {name!r}; give a word in quotes."
            )
        fields.class_of(kind, name)
    return names


def _all_variants(kind: str, value: list[Any]) -> list[Any]:
    """List the members of a list of names and tables."""
    if not value:
        raise InvalidInput("The list is empty; give at least one value.")
    return [one for each in value for one in _variants(kind, each)]


def _variants(kind: str, each: Any) -> list[Any]:
    """List the members of one list entry: a name, or a table that may contain axes."""
    if not isinstance(each, Mapping):
        return [each]
    inner = axes(member(kind, each), each, (), kind)
    grouped = groups(inner, ())
    require_few(count(inner, grouped), "The table")
    return list(points(inner, grouped))


def _expect_same_length(axes: Axes, group: Sequence[Place]) -> None:
    lengths = {".".join(path): len(axes[path]) for path in group}
    if len(set(lengths.values())) > 1:
        given = ", ".join(f"{name} {length}" for name, length in lengths.items())
        with inside("zip"):
            raise InvalidInput(f"Zipped axes must have equally many values; given: {given}.")
