"""The option `--config`: options and settings from a TOML file; the command line overrides it."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from metabench.records import ordinary_files
from metabench.settings import registry
from metabench.settings.errors import InvalidInput, unknown

ASSIGNMENTS = "metabench.config"  # key in a context's meta: settings of the file
NAMED = ("algo", "family", "probe")  # tables whose name is an option of its own


def config(command: Any) -> Any:
    """Add `--config`, a file of options and settings."""
    option = click.option(
        "--config", type=click.Path(path_type=Path), metavar="FILE.toml", is_eager=True,
        expose_value=False, callback=_read,
        help="File of options and settings; those given here override it.",
    )  # fmt: skip
    return option(command)


def with_config(
    context: click.Context, option: click.Parameter, given: Sequence[str]
) -> tuple[str, ...]:
    """Return the assignments of the file, then those of the command line, which come last."""
    return (*context.meta.get(ASSIGNMENTS, ()), *given)


def _read(context: click.Context, option: click.Parameter, path: Path | None) -> None:
    """Read a file: its options become defaults, its settings assignments.

    Raises:
        InvalidInput: if it is no TOML, or has a key that this command doesn't take.
    """
    if path is None:
        return
    try:
        held = tomllib.loads(ordinary_files.read(path).decode())
    except OSError as error:
        raise InvalidInput(f"--config {path} can't be read ({error.strerror}).") from error
    except ValueError as error:
        raise InvalidInput(f"--config {path} is not TOML: {error}.") from error
    options = {each.name: each for each in context.command.params if each.name}
    defaults: dict[str, Any] = {}
    assignments: list[str] = []
    for key, value in held.items():
        name = key.replace("-", "_")
        if isinstance(value, Mapping):
            group = dict(value)
            if key in NAMED and "name" in group and key in options:
                defaults[key] = group.pop("name")
            elif key == "probe" and group.get("name") == context.info_name:
                group.pop("name")
            assignments += _assignments(key, group)
        elif name in options and name != "assignments":
            several = getattr(options[name], "multiple", False) and not isinstance(value, list)
            defaults[name] = [value] if several else value
        else:
            known = [each for each in options if each != "assignments"]
            groups = ("algo", "family", "probe", "compute", "outer", "trial")
            where = f" in {path}: it is no option of {context.info_name} and no table of settings"
            raise unknown("key", key, [*known, *groups, *registry.members("probes")], where)
    context.default_map = {**(context.default_map or {}), **defaults}
    context.meta[ASSIGNMENTS] = tuple(assignments)


def _assignments(path: str, settings: Mapping[str, Any]) -> Iterator[str]:
    """Yield `algo.steps=5` for each value of a table; a member's name is the value of its key.

    >>> list(_assignments("algo", {"steps": 5, "inner_optimizer": {"name": "adam", "rate": 0.1}}))
    ['algo.steps=5', 'algo.inner_optimizer=adam', 'algo.inner_optimizer.rate=0.1']
    """
    for key, value in settings.items():
        place = path if key == "name" else f"{path}.{key}"
        if isinstance(value, Mapping):
            yield from _assignments(place, value)
        elif isinstance(value, list):
            yield f"{place}={','.join(map(str, value))}"
        else:
            yield f"{place}={str(value).lower() if isinstance(value, bool) else value}"
