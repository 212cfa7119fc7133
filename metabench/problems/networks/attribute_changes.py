"""Attributes of a module's parts that a call assigns or writes to, and putting them back."""

from __future__ import annotations

from typing import Any, NamedTuple

from torch import nn

OF_EVERY_MODULE = frozenset(vars(nn.Module()))
Key = tuple[str, str]  # a module's name, and the name of its attribute


class Attribute(NamedTuple):
    """What an attribute was."""

    value: Any
    parts: tuple[Any, ...]  # what it held, of a list and the like

    def is_now(self, value: Any) -> bool:
        """Whether nothing was assigned to the attribute, nor written to what it holds."""
        now = _parts(value)
        return value is self.value and [*map(id, now)] == [*map(id, self.parts)]


Attributes = dict[Key, Attribute]


def attributes_of(net: nn.Module) -> Attributes:
    """Return the attributes of all modules but those that every module has."""
    return {key: Attribute(value, _parts(value)) for key, value in _listed(net)}


def changed_attributes(net: nn.Module, before: Attributes) -> list[str]:
    """List attributes that were added or replaced, and lists and the like that were written to."""
    return [
        ".".join(filter(None, key))
        for key, value in _listed(net)
        if key not in before or not before[key].is_now(value)
    ]


def restore_attributes(net: nn.Module, before: Attributes) -> None:
    """Give a module the attributes that it had, and lists and the like what they held."""
    for key, value in _listed(net):
        attributes, name = vars(net.get_submodule(key[0])), key[1]
        if key not in before:
            del attributes[name]
        elif not before[key].is_now(value):
            old, parts = before[key]
            attributes[name] = old
            _refill(old, parts)


def _listed(net: nn.Module) -> list[tuple[Key, Any]]:
    return [
        ((name, key), value)
        for name, part in net.named_modules()
        for key, value in vars(part).items()
        if key not in OF_EVERY_MODULE
    ]


def _parts(value: Any) -> tuple[Any, ...]:
    if isinstance(value, dict):
        return tuple(part for pair in value.items() for part in pair)
    return tuple(value) if isinstance(value, list | set) else ()


def _refill(held: Any, parts: tuple[Any, ...]) -> None:
    """Give a list, set or dictionary what it held."""
    if isinstance(held, dict):
        held.clear()
        held.update(zip(parts[::2], parts[1::2], strict=True))
    elif isinstance(held, list):
        held[:] = parts
    elif isinstance(held, set):
        held.clear()
        held.update(parts)
