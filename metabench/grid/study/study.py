"""Reading of study files, with the line of each error."""

from __future__ import annotations

import tomllib
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from metabench.grid.study.cells import Cells, cells_of, some_cells
from metabench.grid.study.exclusions import patterns_of
from metabench.grid.study.outline import TABLES, Outline, only, outline_of
from metabench.grid.study.plain_settings import PLAIN, Plain
from metabench.grid.study.plain_values import check_plain
from metabench.grid.study.planned_cell import CellMaker, at
from metabench.grid.study.toml_lines import line_of
from metabench.measurement.members import MEMBERS
from metabench.records import ordinary_files
from metabench.settings import fields
from metabench.settings.errors import InvalidInput, inside
from metabench.settings.synonyms import unknown_group

KEYS = (*TABLES, *PLAIN, "zip", "exclude", "timeout", "split")
LARGEST_FILE = 2**20  # of a study [bytes]


class Study(NamedTuple):
    """The cells of a study file."""

    path: Path
    cells: Cells
    timeout: float


class Outlined(NamedTuple):
    """A study file of which no cell was made yet."""

    path: Path
    text: str
    data: dict[str, Any]
    run: Plain  # timeout and split
    outline: Outline

    def whole(self) -> Study:
        """Return the study with all of its cells, in the file's order."""
        with _located(self.path, self.text):
            left = cells_of(self._maker, self._patterns)
            if not left:
                raise InvalidInput("The exclusions drop all cells.")
            if self.run.split > 1 and not any(kind.split > 1 for kind in left.all_kinds):
                with inside("split"):
                    raise InvalidInput(
                        "No probe of this study can be split; leave out the key split."
                    )
            return Study(self.path, left, self.run.timeout)

    def sample(self, most: int) -> Study:
        """Return the study with a random sample of its cells."""
        with _located(self.path, self.text):
            cells = some_cells(self._maker, self._patterns, most)
            return Study(self.path, cells, self.run.timeout)

    @property
    def _maker(self) -> CellMaker:
        return CellMaker(self.path.parent, self.outline, self.run.split)

    @property
    def _patterns(self) -> list[dict[str, Any]]:
        """The study's exclusions, with thetas as the cells' settings name them."""
        home = self.path.parent
        return [
            {**pattern, "theta": [at(home, each) for each in _listed(pattern["theta"])]}
            if "theta" in pattern else pattern
            for pattern in patterns_of(self.data.get("exclude", []))
        ]  # fmt: skip


def read(path: Path) -> Study:
    """Read a study file and return its cells, in the file's order.

    Raises:
        InvalidInput: naming the line and the key if a setting is unknown, of a wrong type or
            impossible.
    """
    return outlined(path).whole()


def outlined(path: Path) -> Outlined:
    """Read a study file and return its outline, without making any cell.

    Raises:
        InvalidInput: naming the line and the key if a setting is unknown, of a wrong type or
            impossible.
    """
    text = _text(path)
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise InvalidInput(f"{path} is not a TOML file: {error}.") from error
    except (ValueError, RecursionError) as error:
        raise InvalidInput(f"{path}, {_unreadable(text, error)}") from error
    with _located(path, text):
        check_plain(data)
        _check_keys(data)
        run = fields.make(Plain, only(data, "timeout", "split"), "study")
        data = _absolute(path.parent, data)
        return Outlined(path, text, data, run, outline_of(data))


def _text(path: Path) -> str:
    try:
        if path.stat().st_size > LARGEST_FILE:
            raise InvalidInput(f"{path} is larger than 1 MiB, so it is not a study file.")
        text = ordinary_files.read(path).decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInput(f"{path} can't be read: {error}.") from error
    return "\n".join(text.splitlines()) + "\n"


def _unreadable(text: str, error: Exception) -> str:
    """Say which line holds what tomllib gives up at: endless brackets, or thousands of digits."""
    nested = isinstance(error, RecursionError)
    lines = text.splitlines()
    amounts = [sum(map(line.count, "[{." if nested else "0123456789")) for line in lines]
    where = f"line {1 + amounts.index(max(amounts))}"
    if nested:
        return f"{where}: brackets or dots are nested too deep; give a value."
    return f"{where}: the number has too many digits; give a smaller one."


@contextmanager
def _located(path: Path, text: str) -> Generator[None]:
    """Name file, line and key of an invalid setting."""
    try:
        yield
    except InvalidInput as error:
        if not error.path:
            raise InvalidInput(f"{path}: {error}") from error
        named = ".".join(key for key in error.path if not key.isdigit())
        shown = named if named.isprintable() else repr(named)
        where = f"line {line_of(text, error.path)}, {shown}"
        raise InvalidInput(f"{path}, {where}: {error}") from error


def _check_keys(data: Mapping[str, Any]) -> None:
    """Refuse unknown keys, and a study without probe, algorithm or family."""
    for key in data:
        if key not in KEYS:
            with inside(key):
                raise unknown_group("key", key, KEYS, " of a study")
    for part in MEMBERS:
        if part not in data:
            raise InvalidInput(f"{part!r} is missing; add a table [{part}] with a name.")
    patterns_of(data.get("exclude", []))


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
