"""Nested settings from dotted keys; a member may be given by its name alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any


def nest(flat: Mapping[tuple[str, ...], Any]) -> dict[str, Any]:
    """Return nested settings from values by path.

    >>> name, rate = ("algo", "inner_optimizer"), ("algo", "inner_optimizer", "rate")
    >>> nest({("algo", "steps"): 5, name: "adam", rate: 0.1})
    {'algo': {'steps': 5, 'inner_optimizer': {'name': 'adam', 'rate': 0.1}}}
    """
    settings: dict[str, Any] = {}
    for path, value in flat.items():
        put(settings, path, value)
    return settings


def put(settings: dict[str, Any], path: Sequence[str], value: Any) -> None:
    """Set the value at a path; the value of a member that has settings is the member's name.

    Args:
        settings: nested settings, changed in place.
        path: the keys, outermost first.
        value: the value to set.

    >>> settings = {"inner_optimizer": "adam"}
    >>> put(settings, ("inner_optimizer", "rate"), 0.1)
    >>> put(settings, ("inner_optimizer",), "sgd")
    >>> settings
    {'inner_optimizer': {'name': 'sgd', 'rate': 0.1}}
    """
    place = settings
    for key in path[:-1]:
        place = _opened(place, key)
    last = path[-1]
    if isinstance(place.get(last), dict):
        place[last]["name"] = value
    else:
        place[last] = value


def _opened(place: dict[str, Any], key: str) -> dict[str, Any]:
    """Return the settings below a key; they are added if there are none."""
    inside = place.get(key)
    if not isinstance(inside, dict):
        inside = place[key] = {} if inside is None else {"name": inside}
    return inside
