"""Cells of a study: every combination of its tables, each with its digest."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from metabench.grid.study.outline import TABLES, Outline, only
from metabench.grid.study.plain_settings import PLAIN, Plain
from metabench.measurement.measurement import Measurement
from metabench.settings import fields
from metabench.settings.errors import InvalidInput, inside


class Planned(NamedTuple):
    """A cell of a study, measured or not: its digest and its settings."""

    digest: str
    settings: dict[str, Any]  # as in the study: what `Measurement.from_settings` takes
    spec: dict[str, Any]  # what the digest is computed from
    split: int = 1  # parts that are measured separately and merged; not in the digest


def cells_of(home: Path, outline: Outline, split: int) -> Iterator[Planned]:
    """Yield the cells of a study.

    Args:
        home: the folder of the study file.
        outline: the axes of the study.
        split: parts of each cell whose probe can be split.
    """
    known = _Known()
    for combination in outline.combinations:
        with combination.placed():
            for settings in combination.points():
                yield _planned(home, settings, split, known)


def some_cells(home: Path, outline: Outline, split: int, most: int) -> Iterator[Planned]:
    """Yield a random sample of a study's cells, the same each time.

    Args:
        home: the folder of the study file.
        outline: the axes of the study.
        split: parts of each cell whose probe can be split.
        most: number of cells.
    """
    known = _Known()
    for index in random.Random(0).sample(range(outline.size), min(most, outline.size)):
        combination, settings = outline.point(index)
        with combination.placed():
            yield _planned(home, settings, split, known)


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
