"""Probe, algorithm and family of a measurement, made from plain settings."""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from typing import Any

from metabench.settings import fields
from metabench.settings.errors import inside

MEMBERS = {"probe": "probes", "algo": "algorithms", "family": "families"}  # part -> kind


def member(settings: Mapping[str, Any], part: str, defaults: Mapping[str, Any]) -> Any:
    """Make the probe, algorithm or family of a measurement's settings.

    Args:
        settings: of the measurement.
        part: probe, algo or family.
        defaults: fields that the settings may leave out.

    Raises:
        InvalidInput: with the path of the setting that is unknown or invalid.
    """
    given = {**defaults, **settings[part]}
    # a user's file may change while the process runs
    build = _built.__wrapped__ if ".py:" in given["name"] else _built
    with inside(part):
        return build(MEMBERS[part], json.dumps(given))


@functools.lru_cache(maxsize=1024)
def _built(kind: str, settings: str) -> Any:
    """Make a member once for all cells of a study that share it; members are immutable."""
    given = json.loads(settings)
    return fields.build(kind, given.pop("name"), given)
