"""Settings by name: conversion between dataclasses, plain JSON values and digests."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import inspect
import json
import typing
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from metabench.settings import registry, synonyms
from metabench.settings.errors import InvalidInput, guess, inside, unknown
from metabench.settings.nested_keys import put

# A field of this class holds a member of that kind, chosen by name.
NESTED = {"InnerOptimizer": "inner_optimizers", "Solver": "solvers", "Surrogate": "surrogates"}
DIGITS = 12  # of a digest, in hexadecimal
WORDS = {int: "a whole number", float: "a number", bool: "true or false", str: "a word"}


def parse(assignments: Sequence[str], roots: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Turn `algo.inner_optimizer.rate=0.1` strings into nested settings, a dictionary a root.

    >>> parse(["algo.inner_optimizer=adam", "algo.inner_optimizer.rate=0.1"], ["algo"])
    {'algo': {'inner_optimizer': {'name': 'adam', 'rate': '0.1'}}}
    """
    settings: dict[str, dict[str, Any]] = {root: {} for root in roots}
    for assignment in assignments:
        path, equals, value = assignment.partition("=")
        root, *keys = path.strip().split(".")
        if not equals or not keys or not all(keys):
            meant = [] if root in roots and keys else synonyms.key_in_groups(path.strip(), roots)
            ending = guess(meant) or "."
            raise InvalidInput(
                f"--set takes KEY=VALUE, such as algo.steps=5; given {assignment!r}{ending}"
            )
        if root not in settings:
            where = f" to set in {assignment!r}"
            raise synonyms.unknown_group("group", path.strip(), roots, where)
        put(settings[root], keys, value.strip())
    return settings


def build(kind: str, name: str, settings: Mapping[str, Any], group: str = "") -> Any:
    """Make the named member with these settings, typed against its fields.

    Args:
        kind: of member, a key of `registry.KINDS`.
        name: a listed name, `my.py:Hello` or `my_pkg:Hello`.
        settings: its fields, whose values may still be text.
        group: the key that they stand under, for messages; "" is the kind's: `algo`.

    Raises:
        InvalidInput: if a field isn't known, a value has the wrong type, or the settings were
            written for another version of the class.
    """
    cls = class_of(kind, name)
    given = dict(settings)
    version = given.pop("version", cls.version)
    if str(version) != str(cls.version):
        raise InvalidInput(f"{name} is at version {cls.version}; these settings are of {version}.")
    return make(cls, given, name, group or synonyms.KIND_GROUPS.get(kind, name))


def class_of(kind: str, name: str) -> type[Any]:
    """Return the class behind a name.

    Raises:
        InvalidInput: if there is none, or it is of another kind.
    """
    cls = registry.load(kind, name)
    _, word, base = registry.KINDS[kind]
    if not isinstance(cls, type) or base not in (parent.__name__ for parent in cls.__mro__):
        raise InvalidInput(
            f"{name!r} is no {word}; it must be a class derived from metabench.{base}."
        )
    return cls


def make(cls: type[Any], settings: Mapping[str, Any], called: str, group: str = "") -> Any:
    """Make a dataclass of settings whose values may still be text.

    Args:
        cls: the dataclass.
        settings: its fields.
        called: what messages call it.
        group: the key that the fields stand under, for messages; "" is `called`.

    Raises:
        InvalidInput: if a field isn't known or missing, or a value has the wrong type.
    """
    group = group or called
    types = types_of(cls)
    listed = dataclasses.fields(cls) if dataclasses.is_dataclass(cls) else ()
    fields = {field.name: field for field in listed}
    for name in settings:
        if name not in fields:
            with inside(name):
                meant = synonyms.key_of_field(group, name, fields) or None
                raise unknown("field", name, fields, f" of {called}", meant)
    values = {}
    for name, value in settings.items():
        with inside(name):
            values[name] = _value(
                value, types[name], fields[name], f"{called}.{name}", f"{group}.{name}"
            )
    try:
        return cls(**values)
    except TypeError as error:  # an abstract class, or a field without a default
        raise InvalidInput(f"{called} can't be made: {error}.") from error


# The type of each field of a class; read once, since evaluating annotations is slow.
types_of: Callable[[Any], dict[str, Any]] = functools.cache(typing.get_type_hints)


def to_json(kind: str, member: Any) -> dict[str, Any]:
    """Return a member's name, the version of its class and its settings as plain JSON values.

    The version stands in the address: it is raised when the same settings give other numbers.
    """
    cls = type(member)
    return {"name": registry.name_of(kind, cls), "version": cls.version, **settings(member)}


def settings(thing: Any) -> dict[str, Any]:
    """Return a dataclass's fields as plain JSON values; infinities become the word "inf"."""
    if not dataclasses.is_dataclass(thing):
        return {}
    return {
        field.name: _plain(getattr(thing, field.name))
        for field in dataclasses.fields(thing)
        if field.metadata.get("setting", True)  # a function or a problem is known by its name
    }


def digest(spec: Mapping[str, Any]) -> str:
    """Return the spec's address: twelve hex digits of the SHA-256 of its canonical JSON.

    >>> digest({"b": 1, "a": 2}) == digest({"a": 2, "b": 1})
    True
    """
    return hashlib.sha256(canonical(spec)).hexdigest()[:DIGITS]


def canonical(value: Any) -> bytes:
    """Return a value's JSON with sorted keys and without blanks, of which a digest is made."""
    return _CANONICAL.encode(value).encode()


_CANONICAL = json.JSONEncoder(sort_keys=True, separators=(",", ":"), allow_nan=False)


def _value(value: Any, kind: Any, field: dataclasses.Field[Any], called: str, key: str) -> Any:
    nested = NESTED.get(getattr(kind, "__name__", ""))
    if nested is not None:
        return _member(value, nested, field, called, key)
    if typing.get_origin(kind) is tuple:
        (inner, *_) = typing.get_args(kind)
        parts = value.replace(" ", "").split(",") if isinstance(value, str) else value
        if not isinstance(parts, list | tuple):
            raise InvalidInput(f"{called} is {value!r}; it must be a list.")
        return tuple(_scalar(part, inner, called) for part in parts if part != "")
    return _scalar(value, kind, called)


def _member(value: Any, kind: str, field: dataclasses.Field[Any], called: str, key: str) -> Any:
    if not isinstance(value, Mapping):
        value = {"name": value}
    inner = {key: part for key, part in value.items() if key != "name"}
    if "name" in value:
        return build(kind, str(value["name"]), inner, key)
    default = field.default_factory() if callable(field.default_factory) else field.default
    return make(type(default), inner, called, key)


def _scalar(value: Any, kind: type[Any], called: str) -> Any:
    wrong = InvalidInput(f"{called} is {value!r}; it must be {WORDS.get(kind, kind)}.")
    if kind is bool:
        if isinstance(value, bool):
            return value
        if str(value).lower() not in ("true", "false"):
            raise wrong
        return str(value).lower() == "true"
    if isinstance(value, bool | list | dict) or (kind is int and isinstance(value, float)):
        raise wrong
    try:
        typed = kind(value)
    except (TypeError, ValueError, OverflowError):
        raise wrong from None
    if typed != typed:  # NaN, which no setting means
        raise wrong
    return typed


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value):
        bases = (base.__name__ for base in inspect.getmro(type(value)))
        kind = next((NESTED[name] for name in bases if name in NESTED), None)
        return to_json(kind, value) if kind else settings(value)
    if isinstance(value, tuple):
        return [_plain(part) for part in value]
    if isinstance(value, float) and value in (float("inf"), float("-inf")):
        return str(value)
    return value
