"""Reconstruction of a cell's probe from its stored settings."""

from __future__ import annotations

import functools
import json
import typing
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from metabench.probes.base import Probe
from metabench.report.plain_probe import PlainProbe
from metabench.settings import fields, registry
from metabench.settings.errors import InvalidInput
from metabench.settings.nested_keys import nest
from metabench.settings.trust import trusted_name, trusted_settings

STALE = "The numbers are as recorded; measure again to update them."


class Reader(NamedTuple):
    """A probe that reads a table: the one that measured it, or a `PlainProbe` with the reason."""

    probe: Probe
    note: str = ""


def reader(settings: Mapping[str, Any], trusted: Sequence[str] = ()) -> Reader:
    """Build the probe of dotted settings (`probe`, `probe.tasks`, ..), without raising.

    Args:
        settings: of a table, which may be untrusted.
        trusted: unlisted members whose code may be run.
    """
    own = {key: value for key, value in settings.items() if key.partition(".")[0] == "probe"}
    return _made(json.dumps(own, default=str), tuple(trusted))


@functools.lru_cache(maxsize=256)
def _made(text: str, trusted: tuple[str, ...]) -> Reader:
    flat = json.loads(text)  # a member's name stands under its own key, as `rows.flatten` puts it
    name = str(flat.pop("probe", ""))
    given = nest({tuple(key.split(".")[1:]): value for key, value in flat.items()})
    if not name:
        return Reader(PlainProbe(), "The table doesn't name its probe; only numbers are shown.")
    try:
        target = trusted_name(name, trusted)
        cls = registry.load("probes", target)
        version = int(given.pop("version", cls.version))
        if version > cls.version:
            raise InvalidInput(
                f"version {version} measured the table, but version {cls.version} is installed."
            )
        note = f"Measured by version {version} of {name}, read by version {cls.version}."
        types = fields.types_of(cls)
        typed = {
            key: trusted_settings(value, trusted)
            if _is_member(value, types.get(key))
            else _typed(value, types.get(key))
            for key, value in given.items()
        }
        probe = fields.build("probes", target, typed)
        return Reader(probe, "" if version == cls.version else f"{note} {STALE}")
    except (InvalidInput, ImportError, TypeError, ValueError) as error:
        return Reader(PlainProbe(), f"Only numbers of {name} are shown, without findings: {error}")


def _is_member(value: Any, kind: Any) -> bool:
    """Return whether settings name a member, which would be loaded."""
    return isinstance(value, Mapping) or getattr(kind, "__name__", "") in fields.NESTED


def _typed(value: Any, kind: Any) -> Any:
    """Convert a stored value to the form that `fields.build` takes."""
    if typing.get_origin(kind) is tuple:
        return ",".join(str(value).split())
    return str(value) if kind is str else value
