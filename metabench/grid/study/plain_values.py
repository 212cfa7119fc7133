"""Refusal of TOML values that no setting takes, before anything is made of them."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from typing import Any

from metabench.grid.study.toml_lines import DEEPEST, Place
from metabench.settings.errors import InvalidInput

LONGEST_TEXT = 4096  # characters of a name, range or path
LARGEST_WHOLE = 2**63  # beyond the whole numbers that files and tensors hold


def check_plain(data: Mapping[str, Any]) -> None:
    """Check the contents of a study file for dates, endless nesting and unusable text.

    Raises:
        InvalidInput: with the path of the setting.
    """
    left: list[tuple[Place, int, Any]] = [((), 0, data)]
    while left:  # not recursive: nesting may be deeper than Python's stack
        place, depth, value = left.pop()
        try:
            _check(value, depth)
        except InvalidInput as error:
            error.path = place[:DEEPEST]
            raise
        if isinstance(value, Mapping):
            left += [((*place, key), depth + 1, inner) for key, inner in value.items()]
        elif isinstance(value, list):
            for i, inner in enumerate(value):
                # tables of a list are counted, as in [[exclude]]
                at = (*place, str(i)) if isinstance(inner, Mapping) else place
                left.append((at, depth + 1, inner))


def _check(value: Any, depth: int) -> None:
    if depth > DEEPEST:
        raise InvalidInput(f"Tables and lists are nested more than {DEEPEST} deep; give a value.")
    if isinstance(value, dt.date | dt.time):
        raise InvalidInput(f"The value is the date {value}; no setting takes one.")
    if isinstance(value, int) and abs(value) >= LARGEST_WHOLE:
        raise InvalidInput("The whole number doesn't fit into 64 bits; give a smaller one.")
    if isinstance(value, str) and len(value) > LONGEST_TEXT:
        raise InvalidInput(
            f"The text has {len(value):,} characters; give at most {LONGEST_TEXT:,}."
        )
    if isinstance(value, str) and "\0" in value:
        raise InvalidInput("The text contains the character NUL; leave it out.")
