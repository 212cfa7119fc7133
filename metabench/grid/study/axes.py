"""From the values of a study file to points: lists, ranges, what is zipped and what is crossed."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from metabench.grid.study.toml_lines import Place
from metabench.grid.study.value_ranges import values
from metabench.settings import fields, registry
from metabench.settings.errors import InvalidInput, inside
from metabench.settings.nested_keys import nest

Axes = dict[Place, list[Any]]


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
        InvalidInput: if it names none and there is no class otherwise.
    """
    name = table.get("name", otherwise)
    if isinstance(name, type):
        return name
    if not name:
        raise InvalidInput(f"It names no {registry.KINDS[kind][1]}; add name = ...")
    with inside("name"):
        cls = registry.load(kind, str(name[0] if isinstance(name, list) else name))
        if not isinstance(cls, type):
            raise InvalidInput(f"{name!r} is no class.")
    return cls


def default(cls: type[Any], field: str) -> type[Any]:
    """Give the class that a nested field holds unless told."""
    found = next(each for each in dataclasses.fields(cls) if each.name == field)
    return type(found.default_factory() if callable(found.default_factory) else found.default)


def points(axes: Axes, zipped: Sequence[Sequence[Place]]) -> Iterator[dict[str, Any]]:
    """Yield the settings of every point: zipped axes move together, all others are crossed."""
    groups = _groups(axes, zipped)
    for choice in itertools.product(*(range(len(axes[group[0]])) for group in groups)):
        chosen = zip(groups, choice, strict=True)
        yield nest({path: axes[path][i] for group, i in chosen for path in group})


def _groups(axes: Axes, zipped: Sequence[Sequence[Place]]) -> list[list[Place]]:
    """Put together the axes that move together; each of the others moves alone."""
    together = [[path for path in group if path in axes] for group in zipped]
    taken = {path for group in together for path in group}
    groups = [group for group in together if group]
    groups += [[path] for path in axes if path not in taken]
    for group in groups:
        _expect_same_length(axes, group)
    return groups


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
            raise InvalidInput(f"Zipped axes must be equally long; values given: {told}.")
