"""From a cell's settings back to the probe that measured it, where it is installed."""

from __future__ import annotations

import functools
import json
import typing
from collections.abc import Mapping
from typing import Any, NamedTuple

from metabench.probes.base import Probe
from metabench.settings import fields, registry
from metabench.settings.errors import Misuse
from metabench.settings.nested_keys import nest

STALE = "Its numbers are as they were recorded; measure again for those of today."


class Reader(NamedTuple):
    """A probe that can read its table, or why there is none."""

    probe: Probe | None
    note: str = ""


def reader(settings: Mapping[str, Any]) -> Reader:
    """Make the probe of dotted settings (`probe`, `probe.tasks`, ..); nothing is raised."""
    own = {key: value for key, value in settings.items() if key.partition(".")[0] == "probe"}
    return _made(json.dumps(own, default=str))


@functools.lru_cache(maxsize=256)
def _made(text: str) -> Reader:
    flat = json.loads(text)  # a member's name stands under its own key, as `rows.flatten` puts it
    name = str(flat.pop("probe", ""))
    given = nest({tuple(key.split(".")[1:]): value for key, value in flat.items()})
    if not name:
        return Reader(None, "The table doesn't say which probe made it: numbers only.")
    try:
        cls = registry.load("probes", name)
        version = int(given.pop("version", cls.version))
        if version > cls.version:
            raise Misuse(f"{name} is at version {cls.version} here; it was measured by {version}.")
        note = f"Measured by version {version} of {name}, read by version {cls.version}."
        types = fields.types_of(cls)
        typed = {key: _typed(value, types.get(key)) for key, value in given.items()}
        probe = fields.build("probes", name, typed)
        return Reader(probe, "" if version == cls.version else f"{note} {STALE}")
    except (Misuse, ImportError, TypeError, ValueError) as error:
        return Reader(None, f"Numbers only, without findings or figures, of {name}: {error}")


def _typed(value: Any, kind: Any) -> Any:
    """Give a value the form that `spec` takes: lists were joined by blanks."""
    if typing.get_origin(kind) is tuple:
        return ",".join(str(value).split())
    return str(value) if kind is str else value
