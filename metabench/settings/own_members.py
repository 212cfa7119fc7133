"""User-defined members that a study file names; the file is the user's, so they are trusted."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any


def custom_members(study: Path) -> tuple[str, ...]:
    """Return every `my.py:Hello` or `my_pkg:Hello` of a study; none if it can't be read."""
    try:
        data = tomllib.loads(study.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return ()
    return tuple(dict.fromkeys(_named(data, study.parent)))


def _named(value: Any, home: Path) -> Iterator[str]:
    if isinstance(value, dict | list):
        for inner in value.values() if isinstance(value, dict) else value:
            yield from _named(inner, home)
    elif isinstance(value, str) and ".py:" in value:
        yield str((home / value).resolve())
    elif isinstance(value, str) and ":" in value:
        yield value
