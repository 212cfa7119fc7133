"""Line numbers of settings in a TOML text, which tomllib does not keep."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping
from typing import Any

DEEPEST = 20  # keys of a path
FEW_LINES, MOST_LINES = 20, 20_000  # joined to one statement
Place = tuple[str, ...]  # ("algo", "inner_optimizer", "rate")


def line_of(text: str, path: Place) -> int:
    """Return the line of a setting, or of the innermost table around it; `text` is valid TOML.

    >>> line_of('[algo]' + chr(10) + 'steps = 1', ("algo", "steps"))
    2
    """
    known = dict(reversed(list(_places(text.splitlines()))))  # the first of a kind counts
    inner = (path[:length] for length in range(len(path), 0, -1))
    return next((known[place] for place in inner if place in known), 1)


def _places(lines: list[str]) -> Iterator[tuple[Place, int]]:
    """Yield every setting with its line; paths of tables in an array contain the index."""
    header: Place = ()
    counts: dict[Place, int] = {}
    for number, statement in _statements(lines):
        if statement.lstrip().startswith("["):
            header = _numbered(_paths(tomllib.loads(statement))[0], counts)
            if statement.lstrip().startswith("[["):
                counts[header] = counts.get(header, -1) + 1
                yield header, number
                header = (*header, str(counts[header]))
            yield header, number
        else:
            for path in _paths(tomllib.loads(statement)):
                yield (*header, *path), number + _offset(statement, path[-1])


def _numbered(path: Place, counts: dict[Place, int]) -> Place:
    """Add the index of the last table so far to a header inside an array of tables."""
    found: Place = ()
    for key in path:
        found = (*found, str(counts[found]), key) if found in counts else (*found, key)
    return found


def _statements(lines: list[str]) -> Iterator[tuple[int, str]]:
    """Yield each header and assignment, joining lines until they are valid TOML."""
    held: list[str] = []
    for number, line in enumerate(lines, start=1):
        held.append(line)
        if not _may_end(held):
            continue
        try:
            tomllib.loads("\n".join(held))
        except tomllib.TOMLDecodeError:
            continue
        if line.strip() and not line.lstrip().startswith("#"):
            yield number - len(held) + 1, "\n".join(held)
        held = []


def _may_end(held: list[str]) -> bool:
    """Return whether the last line may end a statement; parsing after each takes quadratic time."""
    if len(held) < FEW_LINES:
        return True
    if len(held) > MOST_LINES:
        return False
    return any(end in held[-1] for end in ("]", "}", '"""', "'''"))


def _paths(table: Mapping[str, Any], deepest: int = DEEPEST) -> list[Place]:
    """List every path of a statement's table, deepest first; those below a limit are left out."""
    found: list[Place] = []
    for key, value in table.items():
        inside = value[0] if isinstance(value, list) and value == [{}] else value
        further = isinstance(inside, Mapping) and deepest > 1
        below = _paths(inside, deepest - 1) if further else []
        found += [(key, *path) for path in below] + [(key,)]
    return found


def _offset(statement: str, key: str) -> int:
    """Count the lines from the start of a statement to a key of its inline table."""
    lines = statement.splitlines()
    return next((i for i, line in enumerate(lines) if key in line), 0)
