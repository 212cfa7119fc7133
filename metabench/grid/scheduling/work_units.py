"""Units of work: cells, and parts of cells that are split."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple, TypeVar

from metabench.grid.execution import part_arrays
from metabench.grid.study.study import Study
from metabench.records.store.store import Store
from metabench.settings.errors import InvalidInput

WHOLE_STUDY = "0/1"  # the part of a study that is all of it
WHOLE_CELL = -1  # the part number of a unit that is a whole cell
U = TypeVar("U", bound="str | Unit")


class Unit(NamedTuple):
    """What a worker measures at a time: a cell, or one part of a cell that is split."""

    digest: str
    number: int = WHOLE_CELL  # of the part; WHOLE_CELL: the cell, merged from its parts if split


def units(study: Study) -> list[Unit]:
    """List the units of a study in an order that is the same on every machine."""
    cells = study.cells
    if all(kind.split == 1 for kind in cells.all_kinds):
        return list(map(Unit, sorted(cells)))
    return sorted(
        Unit(digest, number)
        for digest in cells
        for number in _part_numbers(cells.kind(digest).split)
    )


def part_of(units: Iterable[U], which: str) -> list[U]:
    """Return part `i/N` of the units, i from 0, the same on every machine.

    >>> part_of("abcdef", "1/3")
    ['b', 'e']
    """
    first, slash, count = which.partition("/")
    if not slash or not (first.isdigit() and count.isdigit() and int(first) < int(count)):
        raise InvalidInput(f"--part is {which!r}; give i/N with 0 <= i < N, such as 0/64.")
    return sorted(units)[int(first) :: int(count)]


def todo(
    study: Study, store: Store, retry: bool, standing: Mapping[str, str] | None = None
) -> list[str]:
    """List the open cells: those without a result; of failed ones, only those that were killed.

    Other failures would repeat themselves, so they are listed only with `retry`.

    Args:
        study: the study.
        store: the store of its results.
        retry: whether to list all failed cells.
        standing: the state of each cell, as `store.standing()` gives it; None reads it.
    """
    standing = store.standing() if standing is None else standing
    return [
        digest
        for digest in study.cells
        if (state := standing.get(digest, "open")) != "done"
        and (state != "failed" or retry or failure(store, digest)["outcome"] == "killed")
    ]


def failure(store: Store, digest: str) -> dict[str, Any]:
    """Read the record of a failed cell; a damaged record counts as the failure "broken"."""
    try:
        return store.read(digest) or {"outcome": "open"}
    except InvalidInput as error:
        return {"digest": digest, "outcome": "broken", "error": str(error)}


def open_units(digest: str, split: int, store: Store) -> list[Unit]:
    """List the units to measure of a cell: the cell, or its missing parts if it is split.

    Args:
        digest: of the cell.
        split: the number of its parts.
        store: the store of its results.
    """
    if split == 1:
        return [Unit(digest)]
    missing = part_arrays.missing(store, digest, split)
    return [Unit(digest, part.number) for part in missing]


def to_merge(study: Study, store: Store, todo: Iterable[str]) -> list[Unit]:
    """List the split cells whose parts are all measured, or that another process has merged.

    Args:
        study: the study.
        store: the store of its results.
        todo: digests of the open cells.
    """
    parts = {digest: split for digest in todo if (split := study.cells.kind(digest).split) > 1}
    return [
        Unit(digest)
        for digest, split in parts.items()
        if store.is_done(digest) or not part_arrays.missing(store, digest, split)
    ]


def _part_numbers(split: int) -> Iterable[int]:
    return range(split) if split > 1 else (WHOLE_CELL,)
