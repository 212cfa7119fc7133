"""From a cell's settings back to the probe that measured it, where it is installed."""

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

STALE = "Its numbers are as they were recorded; measure again for those of today."


class Reader(NamedTuple):
    """A probe that can read its table; a plain one where the table's own can't be had, and why."""

    probe: Probe
    note: str = ""


def reader(settings: Mapping[str, Any], trusted: Sequence[str] = ()) -> Reader:
    """Make the probe of dotted settings (`probe`, `probe.tasks`, ..); nothing is raised.

    Args:
        settings: of a table, which may be a stranger's.
        trusted: members outside of the lists that the user has named.
    """
    own = {key: value for key, value in settings.items() if key.partition(".")[0] == "probe"}
    return _made(json.dumps(own, default=str), tuple(trusted))


@functools.lru_cache(maxsize=256)
def _made(text: str, trusted: tuple[str, ...]) -> Reader:
    flat = json.loads(text)  # a member's name stands under its own key, as `rows.flatten` puts it
    name = str(flat.pop("probe", ""))
    given = nest({tuple(key.split(".")[1:]): value for key, value in flat.items()})
    if not name:
        return Reader(PlainProbe(), "The table doesn't say which probe made it: numbers only.")
    try:
        target = trusted_name(name, trusted)
        cls = registry.load("probes", target)
        version = int(given.pop("version", cls.version))
        if version > cls.version:
            raise InvalidInput(
                f"{name} is at version {cls.version} here; it was measured by {version}."
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
        return Reader(PlainProbe(), f"Numbers only, without findings, of {name}: {error}")


def _is_member(value: Any, kind: Any) -> bool:
    """Tell settings that name a member, and would be loaded as one."""
    return isinstance(value, Mapping) or getattr(kind, "__name__", "") in fields.NESTED


def _typed(value: Any, kind: Any) -> Any:
    """Give a value the form that `spec` takes: lists were joined by blanks."""
    if typing.get_origin(kind) is tuple:
        return ",".join(str(value).split())
    return str(value) if kind is str else value
