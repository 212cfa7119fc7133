"""Nested settings from paths of keys, where a member may stand as its name alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any


def nest(flat: Mapping[tuple[str, ...], Any]) -> dict[str, Any]:
    """Nest the values of paths.

    >>> name, rate = ("algo", "inner_optimizer"), ("algo", "inner_optimizer", "rate")
    >>> nest({("algo", "steps"): 5, name: "adam", rate: 0.1})
    {'algo': {'steps': 5, 'inner_optimizer': {'name': 'adam', 'rate': 0.1}}}
    """
    settings: dict[str, Any] = {}
    for path, value in flat.items():
        put(settings, path, value)
    return settings


def put(settings: dict[str, Any], path: Sequence[str], value: Any) -> None:
    """Set the value at a path; where that is a member with settings of its own, it is its name.

    A member that stood as its name alone makes room for the settings below it.

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
    """Give the settings below a key, made where there are none."""
    inside = place.get(key)
    if not isinstance(inside, dict):
        inside = place[key] = {} if inside is None else {"name": inside}
    return inside
