"""Table of the fields of a member or settings group: name, type, default, unit, meaning."""

from __future__ import annotations

import dataclasses
import typing
from typing import Any

from metabench.settings import fields as spec
from metabench.settings import registry
from metabench.settings.member_source import constant_text


def fields(kind: str, name: str) -> list[str]:
    """Return a member's fields, a line each; a nested member is shown by its name."""
    return fields_of(registry.load(kind, name))


def fields_of(cls: type[Any]) -> list[str]:
    """Return a dataclass's fields, a line each, in aligned columns."""
    about, types = registry.comments(cls), typing.get_type_hints(cls)
    lines = [("field", "type", "default", "unit", "meaning")]
    for field in dataclasses.fields(cls):
        meaning, _, unit = about.get(field.name, "").rstrip("]").partition(" [")
        default = (
            field.default_factory()
            if field.default is dataclasses.MISSING and callable(field.default_factory)
            else field.default
        )
        shown, type_ = _as_set(default), types[field.name]
        word = type_.__name__ if isinstance(type_, type) else str(type_)
        if word in spec.NESTED:
            shown = registry.name_of(spec.NESTED[word], type(default))
            meaning += f"; fields: metabench list {shown}"
        lines.append((field.name, word, shown, unit, meaning))
    widths = [max(len(line[column]) for line in lines) for column in range(4)]
    return [
        "  ".join(
            [*(text.ljust(width) for text, width in zip(line, widths, strict=False)), line[4]]
        )
        for line in lines
    ]


def _as_set(default: object) -> str:
    """Return a default as --set takes it."""
    if isinstance(default, tuple):
        return ",".join(map(str, default))
    return constant_text(default)
