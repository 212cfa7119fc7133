"""One cell of a study, made and validated from a point of its axes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

from metabench.grid.study.outline import TABLES, Combination, Outline, only
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


@dataclass(frozen=True)
class CellMaker:
    """Makes the cells of a study."""

    home: Path  # folder of the study file
    outline: Outline
    split: int  # parts of each cell whose probe can be split
    _known: _Known = field(default_factory=_Known)

    def numbered(self, number: int) -> Planned:
        """Return a cell by its number in the outline."""
        return self.at(*self.outline.point(number))

    def at(self, combination: Combination, point: Mapping[str, Any]) -> Planned:
        """Return the cell of a point.

        Args:
            combination: the tables that span it.
            point: its settings.

        Raises:
            InvalidInput: with the place of a wrong setting in the study file.
        """
        with combination.placed():
            plain = fields.make(Plain, only(point, *PLAIN), "study")
            if ":" in plain.device:
                with inside("device"):
                    raise InvalidInput("The executor assigns the GPUs; give cuda without a number.")
            theta = at(self.home, plain.theta)
            rest = {"seed": plain.seed, "dtype": plain.dtype, "device": plain.device}
            tables = {part: point.get(part, {}) for part in TABLES}
            settings = {**tables, **rest, "theta": theta}
            cell, asked = self._known.cell(settings)
        split = self.split if cell.probe.splittable else 1
        return Planned(fields.digest(asked), settings, asked, split)


def at(home: Path, theta: Any) -> Any:
    """Return the path of a theta file next to the study; "" is the family's initial theta."""
    return str((home / theta).resolve()) if theta and isinstance(theta, str) else theta
