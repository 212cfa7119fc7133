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
CONFIG = "metabench.config_file"  # key in a context's meta: path of the file
GROUPS = ("algo", "family", "probe", "compute", "outer", "trial")  # tables that there may be
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
    """Return the assignments of the file, then those of the command line, which come last.

    Args:
        context: of the command.
        option: `--set`.
        given: assignments of the command line.
    """
    return (*context.meta.get(ASSIGNMENTS, ()), *given)


def _read(context: click.Context, option: click.Parameter, path: Path | None) -> None:
    """Read a file: its options become defaults, its settings assignments.

    Raises:
        InvalidInput: if it is no TOML, or has a key that this command doesn't take.
    """
    if path is None:
        return
    context.meta[CONFIG] = path
    options = {each.name: each for each in context.command.params if each.name}
    defaults: dict[str, Any] = {}
    assignments: list[str] = []
    for key, value in _parsed(path).items():
        if isinstance(value, Mapping):
            group = dict(value)
            if key in NAMED and key in options and "name" in group:
                defaults[key] = group.pop("name")
            if key == "probe" and group.get("name") == context.info_name:
                group.pop("name")
            assignments += _assignments(key, group)
        else:
            named = options.get(key.replace("-", "_"))
            if named is None or named.name == "assignments":
                raise _unknown(key, path, context)
            defaults[str(named.name)] = _default(named, value)
    context.default_map = {**(context.default_map or {}), **defaults}
    context.meta[ASSIGNMENTS] = tuple(assignments)


def _default(option: click.Parameter, value: Any) -> Any:
    """Return a value as a default; an option that can be repeated takes a list."""
    several = getattr(option, "multiple", False) and not isinstance(value, list)
    return [value] if several else value


def _parsed(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(ordinary_files.read(path).decode())
    except OSError as error:
        raise InvalidInput(f"--config {path} can't be read ({error.strerror}).") from error
    except ValueError as error:
        raise InvalidInput(f"--config {path} is not TOML: {error}.") from error


def _unknown(key: str, path: Path, context: click.Context) -> InvalidInput:
    options = [
        each.name for each in context.command.params if each.name not in (None, "assignments")
    ]
    known = [*filter(None, options), *GROUPS, *registry.members("probes")]
    where = f" in {path}: it is no option of {context.info_name} and no table of settings"
    return unknown("key", key, known, where)


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
