"""Reading of study files, with the line of each error."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from metabench.grid.study.cells import KNOWN, Plain, Planned, at, cells_of, only
from metabench.grid.study.exclusions import excluded
from metabench.grid.study.toml_lines import line_of
from metabench.measurement.members import MEMBERS
from metabench.settings import fields
from metabench.settings.errors import InvalidInput, inside
from metabench.settings.synonyms import unknown_group

KEYS = (*KNOWN, "zip", "exclude", "timeout", "split")


class Study(NamedTuple):
    """The cells of a study file."""

    path: Path
    cells: dict[str, Planned]
    timeout: float


def read(path: Path) -> Study:
    """Read a study file and return its cells, in the file's order.

    Raises:
        InvalidInput: naming the line and the key if a setting is unknown, of a wrong type or
            impossible.
    """
    try:
        text = path.read_text(encoding="utf-8")
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise InvalidInput(f"{path} is not a TOML file: {error}.") from error
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInput(f"{path} can't be read: {error}.") from error
    try:
        return _study(path, data)
    except InvalidInput as error:
        if not error.path:
            raise InvalidInput(f"{path}: {error}") from error
        named = ".".join(key for key in error.path if not key.isdigit())
        where = f"line {line_of(text, error.path)}, {named}"
        raise InvalidInput(f"{path}, {where}: {error}") from error


def _study(path: Path, data: dict[str, Any]) -> Study:
    _check_keys(data)
    run = fields.make(Plain, only(data, "timeout", "split"), "study")
    data = _absolute(path.parent, data)
    cells = {cell.digest: cell for cell in cells_of(path.parent, data, run.split)}
    out = _excluded(path.parent, data, cells)
    left = {digest: cell for digest, cell in cells.items() if digest not in out}
    if not left:
        raise InvalidInput("The exclusions drop all cells.")
    if run.split > 1 and not any(cell.split > 1 for cell in left.values()):
        with inside("split"):
            raise InvalidInput("No probe of this study can be split; leave out the key split.")
    return Study(path, left, run.timeout)


def _check_keys(data: Mapping[str, Any]) -> None:
    """Refuse unknown keys, and a study without probe, algorithm or family."""
    for key in data:
        if key not in KEYS:
            with inside(key):
                raise unknown_group("key", key, KEYS, " of a study")
    for part in MEMBERS:
        if part not in data:
            raise InvalidInput(f"{part!r} is missing; add a table [{part}] with a name.")


def _excluded(home: Path, data: Mapping[str, Any], cells: Mapping[str, Planned]) -> set[str]:
    """Return the digests of the cells that the study's exclusions drop."""
    if "exclude" not in data:
        return set()
    patterns = [
        {**pattern, "theta": [at(home, each) for each in _listed(pattern["theta"])]}
        if "theta" in pattern else pattern
        for pattern in data["exclude"]
    ]  # fmt: skip
    # theta as the file writes it; the digest holds its contents
    specs = {d: {**cell.spec, "theta": cell.settings["theta"]} for d, cell in cells.items()}
    return excluded(specs, patterns)


def _absolute(home: Path, value: Any) -> Any:
    """Make paths of the user's members, "my.py:Mine", relative to the study file."""
    if isinstance(value, dict):
        return {key: _absolute(home, inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_absolute(home, inner) for inner in value]
    if isinstance(value, str) and ".py:" in value:
        return str((home / value).resolve())
    return value


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]
