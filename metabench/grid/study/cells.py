"""Cells of a study by digest: all digests are known, each cell is made when it is asked for."""

from __future__ import annotations

import functools
import itertools
import random
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from metabench.grid.study.columns import Values, columns, columns_of_one, digests
from metabench.grid.study.exclusions import Pattern, excluded
from metabench.grid.study.outline import Combination
from metabench.grid.study.planned_cell import CellMaker, Planned
from metabench.settings.errors import InvalidInput


class Kind(NamedTuple):
    """What is known of a cell before it is made."""

    device: str
    split: int  # parts that are measured separately


class Cells(Mapping[str, Planned]):
    """The cells of a study by digest, in the order of the file."""

    def __init__(
        self,
        maker: CellMaker,
        numbers: Mapping[str, int],
        kinds: Sequence[Kind] | Mapping[int, Kind],
    ) -> None:
        """Keep what is known of the cells.

        Args:
            maker: makes the cells.
            numbers: of the cells in the outline, by digest.
            kinds: of the cells, by number.
        """
        self._maker, self._numbers, self._kinds = maker, numbers, kinds

    def __getitem__(self, digest: str) -> Planned:
        """Make a cell.

        Raises:
            InvalidInput: if a file that the study names has changed since its digest was computed.
        """
        cell = self._maker.numbered(self._numbers[digest])
        if cell.digest != digest:
            raise InvalidInput(
                "A file that the study names was changed after it was read; run the command again."
            )
        return cell

    def __iter__(self) -> Iterator[str]:
        """Iterate over the digests."""
        return iter(self._numbers)

    def __len__(self) -> int:
        """Return the number of cells."""
        return len(self._numbers)

    def __contains__(self, digest: object) -> bool:
        """Return whether a cell has this digest."""
        return digest in self._numbers

    def kind(self, digest: str) -> Kind:
        """Return a cell's device and number of parts, without making it."""
        return self._kinds[self._numbers[digest]]

    @functools.cached_property
    def all_kinds(self) -> set[Kind]:
        """All kinds of cells."""
        return set(map(self._kinds.__getitem__, self._numbers.values()))

    def only(self, digests: Iterable[str]) -> Cells:
        """Return those of the cells that have these digests, in the order of the file."""
        kept = set(digests)
        numbers = {d: number for d, number in self._numbers.items() if d in kept}
        return Cells(self._maker, numbers, self._kinds)


def cells_of(maker: CellMaker, patterns: Sequence[Pattern]) -> Cells:
    """Return all cells of a study, less those that its exclusions drop.

    Args:
        maker: makes the cells.
        patterns: settings of cells to drop.
    """
    tables = [columns(each, _values_of(maker, each)) for each in maker.outline.combinations]
    found: list[str] = []
    kinds: list[Kind] = []
    dropped: set[str] = set()
    for table, out in zip(tables, excluded(tables, patterns), strict=True):
        made = list(digests(table))
        found += made
        dropped.update(itertools.compress(made, out))
        kinds += table["kind"].of_each(table["kind"].values)
    numbers = {d: number for number, d in enumerate(found) if d not in dropped}
    return Cells(maker, numbers, kinds)


def some_cells(maker: CellMaker, patterns: Sequence[Pattern], most: int) -> Cells:
    """Return a random sample of a study's cells, the same each time.

    Args:
        maker: makes the cells.
        patterns: settings of cells to drop.
        most: number of cells.
    """
    size = maker.outline.size
    chosen = random.Random(0).sample(range(size), min(most, size))
    cells = {number: maker.numbered(number) for number in chosen}
    values = {number: _values(cell) for number, cell in cells.items()}
    drops = excluded([columns_of_one(each) for each in values.values()], patterns, whole=False)
    dropped = {cell.digest for cell, (drop,) in zip(cells.values(), drops, strict=True) if drop}
    numbers = {cell.digest: n for n, cell in cells.items() if cell.digest not in dropped}
    return Cells(maker, numbers, {number: each["kind"] for number, each in values.items()})


def _values_of(maker: CellMaker, combination: Combination) -> Values:
    """Return what makes the columns of a combination: one cell for each distinct value."""

    @functools.cache
    def values(choice: tuple[int, ...]) -> dict[str, Any]:
        return _values(maker.at(combination, combination.point(choice)))

    return values


def _values(cell: Planned) -> dict[str, Any]:
    kind = Kind(cell.spec["device"], cell.split)
    return {**cell.spec, "file": cell.settings["theta"], "kind": kind}
