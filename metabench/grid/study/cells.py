"""Cells of a study: every combination of its tables, each with its digest."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

from metabench.estimation.vectorization import Vectorization
from metabench.grid.study import axes
from metabench.grid.study.toml_lines import Place
from metabench.measurement.measurement import Measurement
from metabench.measurement.members import MEMBERS
from metabench.settings import fields
from metabench.settings.errors import InvalidInput, inside, unknown
from metabench.settings.synonyms import keys_among

TABLES = (*MEMBERS, "compute")
PLAIN = ("seed", "dtype", "device", "theta")
KNOWN = (*TABLES, *PLAIN)


@dataclass(frozen=True)
class Plain:
    """Settings of a study besides those of its members."""

    seed: int = 0  # of every random draw [1]
    dtype: str = "float32"  # float32 or float64
    device: str = "cpu"  # cpu or cuda
    theta: str = ""  # file of a trained theta, relative to the study file; "": the initial one
    timeout: float = math.inf  # limit for a cell, or for a part of one [seconds]
    split: int = 1  # parts of each cell, if its probe can be split [1]

    def __post_init__(self) -> None:
        """Validate split >= 1."""
        if self.split < 1:
            with inside("split"):
                raise InvalidInput(
                    f"split is {self.split}; give the number of parts of each cell, at least 1."
                )


class Planned(NamedTuple):
    """A cell of a study, measured or not: its digest and its settings."""

    digest: str
    settings: dict[str, Any]  # as in the study: what `Measurement.from_settings` takes
    spec: dict[str, Any]  # what the digest is computed from
    split: int = 1  # parts that are measured separately and merged; not in the digest


def cells_of(home: Path, data: Mapping[str, Any], split: int) -> Iterator[Planned]:
    """Yield the cells of every combination of tables; a member may have several ([[algo]]).

    Args:
        home: the folder of the study file.
        data: the study file's contents.
        split: parts of each cell whose probe can be split.
    """
    known = _Known()
    choices = list(itertools.product(*(_tables(data, part) for part in TABLES)))
    combinations = []
    for choice in choices:
        with _placed(choice):
            combinations.append(_axes_of(choice, data))
    zipped = _zipped(data, {path for found in combinations for path in found})
    for choice, found in zip(choices, combinations, strict=True):
        with _placed(choice):
            for settings in axes.points(found, zipped):
                yield _planned(home, settings, split, known)


class Table(NamedTuple):
    """One table of a study file: its member, its place in the file and its settings."""

    part: str
    place: Place
    settings: dict[str, Any]


def _tables(data: Mapping[str, Any], part: str) -> list[Table]:
    """List the tables of one part: `algo = "maml"`, [algo] and several [[algo]] alike."""
    given = data.get(part, {})
    if isinstance(given, list) and any(isinstance(each, dict) for each in given):
        return [Table(part, (part, str(i)), _as_table(each)) for i, each in enumerate(given)]
    return [Table(part, (part,), _as_table(given))]


def _as_table(given: Any) -> dict[str, Any]:
    return given if isinstance(given, dict) else {"name": given}


@contextmanager
def _placed(choice: Sequence[Table]) -> Generator[None]:
    """Turn the path of an InvalidInput, which begins with a member, into its place in the file."""
    try:
        yield
    except InvalidInput as error:
        for table in choice:
            if error.path[:1] == (table.part,):
                error.path = (*table.place, *error.path[1:])
        raise


def _axes_of(choice: Sequence[Table], data: Mapping[str, Any]) -> axes.Axes:
    found = axes.axes(Plain, only(data, *PLAIN), ())
    for part, _, table in choice:
        with inside(part):
            kind = MEMBERS.get(part, "")
            found |= axes.axes(
                axes.member(kind, table) if kind else Vectorization, table, (part,), kind
            )
    return found


def _zipped(data: Mapping[str, Any], known: set[Place]) -> list[list[Place]]:
    """Read `zip`: groups of axes, each by its dotted name."""
    groups = [[tuple(name.split(".")) for name in group] for group in data.get("zip", [])]
    for path in itertools.chain.from_iterable(groups):
        if path not in known:
            with inside("zip"):
                names, name = list(map(".".join, known)), ".".join(path)
                raise unknown("axis", name, names, " to zip", keys_among(name, names))
    return groups


class _Known(dict[str, tuple[Measurement, dict[str, Any]]]):
    """Cache of one cell and spec for all cells that differ only in their seed."""

    def cell(self, settings: Mapping[str, Any]) -> tuple[Measurement, dict[str, Any]]:
        """Return the validated measurement of these settings, with its spec."""
        kind = json.dumps({**settings, "seed": 0}, sort_keys=True, default=str)
        if kind not in self:
            cell = Measurement.from_settings(settings)
            self[kind] = cell, cell.spec()
            return self[kind]
        cell, spec = self[kind]
        seed = settings["seed"]
        return replace(cell, seed=seed), {**spec, "seed": seed}


def _planned(home: Path, point: Mapping[str, Any], split: int, known: _Known) -> Planned:
    plain = fields.make(Plain, only(point, *PLAIN), "study")
    if ":" in plain.device:
        with inside("device"):
            raise InvalidInput("The executor assigns the GPUs; give cuda without a number.")
    theta = at(home, plain.theta)
    rest = {"seed": plain.seed, "dtype": plain.dtype, "device": plain.device, "theta": theta}
    settings = {**{part: point.get(part, {}) for part in TABLES}, **rest}
    cell, asked = known.cell(settings)
    return Planned(fields.digest(asked), settings, asked, split if cell.probe.splittable else 1)


def at(home: Path, theta: Any) -> Any:
    """Return the path of a theta file next to the study; "" is the family's initial theta."""
    return str((home / theta).resolve()) if theta and isinstance(theta, str) else theta


def only(table: Mapping[str, Any], *names: str) -> dict[str, Any]:
    """Return those of the named settings that the table has."""
    return {name: table[name] for name in names if name in table}
