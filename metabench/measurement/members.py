"""The members that a cell names: its probe, algorithm and family, made of plain settings."""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from typing import Any

from metabench.settings import fields
from metabench.settings.errors import inside

MEMBERS = {"probe": "probes", "algo": "algorithms", "family": "families"}  # part -> kind


def member(settings: Mapping[str, Any], part: str, defaults: Mapping[str, Any]) -> Any:
    """Make what a part of a cell's settings names.

    Raises:
        InvalidInput: with the path of the setting that is unknown, has the wrong type or can't be.
    """
    given = {**defaults, **settings[part]}
    # one's own file may change while the process lives
    build = _built.__wrapped__ if ".py:" in given["name"] else _built
    with inside(part):
        return build(MEMBERS[part], json.dumps(given))


@functools.lru_cache(maxsize=1024)
def _built(kind: str, settings: str) -> Any:
    """Make a member once for the many cells of a study that share it; members don't change."""
    given = json.loads(settings)
    return fields.build(kind, given.pop("name"), given)
