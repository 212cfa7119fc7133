"""Outline of a study: its axes and the number of its cells, none of which is made."""

from __future__ import annotations

import itertools
import math
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

from metabench.estimation.vectorization import Vectorization
from metabench.grid.study import axes
from metabench.grid.study.plain_settings import PLAIN, Plain
from metabench.grid.study.toml_lines import Place
from metabench.measurement.members import MEMBERS
from metabench.settings.errors import InvalidInput, inside, unknown
from metabench.settings.synonyms import keys_among

TABLES = (*MEMBERS, "compute")
MOST_COMBINATIONS = 10_000  # of tables such as [[algo]] and [[family]]
MOST_CELLS = 10_000_000  # of a study


class Table(NamedTuple):
    """One table of a study file: its member, its place in the file and its settings."""

    part: str
    place: Place
    settings: dict[str, Any]


class Combination(NamedTuple):
    """One table of each part, and the axes that they span."""

    tables: tuple[Table, ...]
    axes: axes.Axes
    groups: list[list[Place]]  # of axes that move together

    @property
    def size(self) -> int:
        """Number of points."""
        return axes.count(self.axes, self.groups)

    @property
    def lengths(self) -> list[int]:
        """Number of values of each group."""
        return [len(self.axes[group[0]]) for group in self.groups]

    def point(self, choice: Sequence[int]) -> dict[str, Any]:
        """Return the settings of the point with these indices, one for each group."""
        return axes.chosen(self.axes, self.groups, choice)

    def points(self) -> Iterator[dict[str, Any]]:
        """Yield the settings of every point."""
        return axes.points(self.axes, self.groups)

    @contextmanager
    def placed(self) -> Generator[None]:
        """Turn the path of an InvalidInput, which begins with a member, into its place."""
        with _placed(self.tables):
            yield


class Outline(NamedTuple):
    """All combinations of a study's tables, before exclusions."""

    combinations: list[Combination]

    @property
    def size(self) -> int:
        """Number of cells before exclusions; cells that are given twice count twice."""
        return sum(each.size for each in self.combinations)

    @property
    def lengths(self) -> dict[str, list[int]]:
        """Numbers of values of each setting with several, one for each table that has it.

        The number of tables themselves stands under `[[algo]]`.
        """
        places = {table.place for each in self.combinations for table in each.tables}
        parts = [place[0] for place in places if len(place) > 1]
        found = {f"[[{part}]]": {parts.count(part)} for part in TABLES if part in parts}
        for each in self.combinations:
            for path, values in each.axes.items():
                if len(values) > 1:
                    found.setdefault(".".join(path), set()).add(len(values))
        return {name: sorted(lengths) for name, lengths in found.items()}

    def point(self, index: int) -> tuple[Combination, dict[str, Any]]:
        """Return the settings of one cell by its number from 0, with its combination."""
        for each in self.combinations:
            if index < each.size:
                return each, axes.point(each.axes, each.groups, index)
            index -= each.size
        raise IndexError(index)


def outline_of(data: Mapping[str, Any]) -> Outline:
    """Return the outline of a study file's contents.

    Raises:
        InvalidInput: with the path of the setting at fault.
    """
    tables = [_tables(data, part) for part in TABLES]
    if (count := math.prod(map(len, tables))) > MOST_COMBINATIONS:
        raise InvalidInput(
            f"The tables [[..]] make {count:,} combinations; at most {MOST_COMBINATIONS:,} are "
            "read. Use lists of values in fewer tables."
        )
    plain = axes.axes(Plain, only(data, *PLAIN), ())
    of_table = {table.place: _axes_of(table) for part in tables for table in part}
    known = {path for found in (plain, *of_table.values()) for path in found}
    zipped = _zipped(data.get("zip", []), known)
    combinations = []
    for choice in itertools.product(*tables):
        found = dict(plain)
        for table in choice:
            found |= of_table[table.place]
        combinations.append(Combination(choice, found, axes.groups(found, zipped)))
    outline = Outline(combinations)
    if outline.size > MOST_CELLS:
        raise InvalidInput(
            f"The study has {outline.size:,} cells; at most {MOST_CELLS:,} are read. Shorten the "
            "axes, or zip those that vary together."
        )
    return outline


def _tables(data: Mapping[str, Any], part: str) -> list[Table]:
    """List the tables of one part: `algo = "maml"`, [algo] and several [[algo]] alike."""
    given = data.get(part, {})
    if isinstance(given, list) and any(isinstance(each, dict) for each in given):
        return [Table(part, (part, str(i)), _as_table(each)) for i, each in enumerate(given)]
    return [Table(part, (part,), _as_table(given))]


def _as_table(given: Any) -> dict[str, Any]:
    return given if isinstance(given, dict) else {"name": given}


@contextmanager
def _placed(tables: Sequence[Table]) -> Generator[None]:
    try:
        yield
    except InvalidInput as error:
        for table in tables:
            if error.path[:1] == (table.part,):
                error.path = (*table.place, *error.path[1:])
        raise


def _axes_of(table: Table) -> axes.Axes:
    part, _, settings = table
    with _placed([table]), inside(part):
        kind = MEMBERS.get(part, "")
        cls = axes.member(kind, settings) if kind else Vectorization
        return axes.axes(cls, settings, (part,), kind)


def _zipped(given: Any, known: set[Place]) -> list[list[Place]]:
    """Read `zip`: groups of axes, each by its dotted name and in one group only."""
    with inside("zip"):
        if not _are_groups(given):
            raise InvalidInput(
                f"zip is {given!r}; give groups of settings that vary together, such as "
                'zip = [["family.shots", "family.queries"]].'
            )
        groups = [[tuple(name.split(".")) for name in group] for group in given]
        seen: set[Place] = set()
        for path in itertools.chain.from_iterable(groups):
            name = ".".join(path)
            if path not in known:
                names = list(map(".".join, known))
                raise unknown("axis", name, names, " to zip", keys_among(name, names))
            if path in seen:
                raise InvalidInput(f"{name} is zipped twice; name it once.")
            seen.add(path)
    return groups


def _are_groups(given: Any) -> bool:
    """Return whether `zip` is a list of lists of words."""
    return isinstance(given, list) and all(
        isinstance(group, list) and all(isinstance(name, str) for name in group) for group in given
    )


def only(table: Mapping[str, Any], *names: str) -> dict[str, Any]:
    """Return those of the named settings that the table has."""
    return {name: table[name] for name in names if name in table}
