"""Which class may a name in somebody's data stand for? Reading a table must not run its code.

Listed members and those that installed packages register are imported. A file or module that the
data alone names is not, unless the user has named it too.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from metabench.settings import registry
from metabench.settings.errors import InvalidInput


def trusted_name(name: str, trusted: Sequence[str]) -> str:
    """Return the name under which a member that data names may be loaded.

    Args:
        name: as the data has it: `variance`, `my.py:Hello`, `my@0123456789ab:Hello`.
        trusted: as the user has them: `my.py:Hello`; it is the user's file that is loaded.

    Raises:
        InvalidInput: if it is no listed member, and the user hasn't named it.
    """
    if ":" not in name or any(name in registry.members(kind).values() for kind in registry.KINDS):
        return name
    wanted = _called(name)
    for own in trusted:
        if _called(own) == wanted:
            return own
    raise InvalidInput(
        f"A table or record names {name}, which is not a listed member, so its code is not run; if "
        f"it is yours, add --trust {_suggestion(name)}."
    )


def trusted_settings(data: Any, trusted: Sequence[str]) -> Any:
    """Return nested settings with the names of trusted members only.

    Raises:
        InvalidInput: if one is of a file or module that the user hasn't named.
    """
    if isinstance(data, dict):
        return {key: trusted_settings(value, trusted) for key, value in data.items()}
    if isinstance(data, list):
        return [trusted_settings(value, trusted) for value in data]
    if isinstance(data, str) and ":" in data:
        return ",".join(trusted_name(name.strip(), trusted) for name in data.split(","))
    return data


def named_in(data: Any, trusted: Sequence[str]) -> tuple[str, ...]:
    """Return those of the trusted members that nested settings name."""
    named = {_called(name) for name in _unlisted_names(data)}
    return tuple(own for own in trusted if _called(own) in named)


def require_named(data: Any, trusted: Sequence[str]) -> None:
    """Refuse a trusted member that the data don't name: trusting it has no effect.

    Raises:
        InvalidInput: if there is one.
    """
    named = named_in(data, trusted)
    without = [own for own in trusted if own not in named]
    if without:
        there = dict.fromkeys(_suggestion(name) for name in _unlisted_names(data))
        instead = f"names {', '.join(there)}" if there else "names listed members only"
        raise InvalidInput(f"--trust {without[0]} has no effect: what is read {instead}.")


def _unlisted_names(data: Any) -> Iterator[str]:
    """Yield every `my.py:Hello` or `my_pkg:Hello` of nested settings."""
    if isinstance(data, dict | list | tuple):
        for inner in data.values() if isinstance(data, dict) else data:
            yield from _unlisted_names(inner)
    elif isinstance(data, str) and ":" in data:
        listed = [name for kind in registry.KINDS for name in registry.members(kind).values()]
        names = (name.strip() for name in data.split(","))
        yield from (n for n in names if n not in listed and n.rpartition(":")[2].isidentifier())


def members_of_study(study: Path) -> tuple[str, ...]:
    """Return every `my.py:Hello` or `my_pkg:Hello` of a study, () if it can't be read."""
    try:
        if not study.is_file():  # reading a pipe would block
            return ()
        data = tomllib.loads(study.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError, RecursionError):
        return ()
    return tuple(dict.fromkeys(_user_names(data, study.parent)))


def _user_names(value: Any, home: Path) -> Iterator[str]:
    if isinstance(value, dict | list):
        for inner in value.values() if isinstance(value, dict) else value:
            yield from _user_names(inner, home)
    elif isinstance(value, str) and ".py:" in value:
        yield str((home / value).resolve())
    elif isinstance(value, str) and ":" in value:
        yield value


def _called(name: str) -> tuple[str, str]:
    """Return module and class of a name: files by their stem, whatever folder or version they are.

    >>> _called("lab/my.py:Hello") == _called("my@0123456789ab:Hello") == ("my", "Hello")
    True
    """
    module, _, attribute = name.rpartition(":")
    module = module.partition("@")[0]
    return (Path(module).stem if module.endswith(".py") else module), attribute


def _suggestion(name: str) -> str:
    module, _, attribute = name.rpartition(":")
    file, at, _ = module.partition("@")
    return f"{file.removesuffix('.py')}.py:{attribute}" if at else f"{module}:{attribute}"
