"""What is there to measure: cells, and shares of cells that are cut."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple, TypeVar

from metabench.grid.execution import part_arrays
from metabench.grid.study.cells import Planned
from metabench.grid.study.study import Study
from metabench.records.store.store import Store
from metabench.settings.errors import InvalidInput

WHOLE = -1  # the number of a unit that is no share
U = TypeVar("U", bound="str | Unit")


class Unit(NamedTuple):
    """What one worker measures at a time: a cell, or one share of a cell that is cut."""

    digest: str
    number: int = WHOLE  # of the share; WHOLE: the cell, which its shares are merged to


def units(study: Study) -> list[Unit]:
    """List the units of a study, in the same order on every machine."""
    cells = study.cells.values()
    found = [Unit(cell.digest, number) for cell in cells for number in _numbers(cell)]
    return sorted(found)


def part_of(units: Iterable[U], which: str) -> list[U]:
    """Take one of N equal shares, `i/N` with i from 0, the same on every machine.

    >>> part_of("abcdef", "1/3")
    ['b', 'e']
    """
    first, slash, count = which.partition("/")
    if not slash or not (first.isdigit() and count.isdigit() and int(first) < int(count)):
        raise InvalidInput(f"--part takes i/N with 0 <= i < N, such as 0/64; given {which!r}.")
    return sorted(units)[int(first) :: int(count)]


def todo(
    study: Study, store: Store, retry: bool, standing: Mapping[str, str] | None = None
) -> list[str]:
    """List the open cells: those without a result, but of the failed only the killed unless told.

    A failure is a record too: run again without a change it would fail again. Being killed is what
    happens to a process, not to a cell. `standing` is the store's, if the caller has looked.
    """
    standing = store.standing() if standing is None else standing
    return [
        digest
        for digest in study.cells
        if (state := standing.get(digest, "open")) in ("open", "broken")
        or (state == "failed" and (retry or failure(store, digest)["outcome"] == "killed"))
    ]


def failure(store: Store, digest: str) -> dict[str, Any]:
    """Read why a cell failed; a file that is no record of it is a failure of its own."""
    try:
        return store.read(digest) or {"outcome": "open"}
    except InvalidInput as error:
        return {"digest": digest, "outcome": "broken", "error": str(error)}


def open_units(cell: Planned, store: Store) -> list[Unit]:
    """List what is to be measured of a cell; of one that is cut, its missing shares."""
    if cell.split == 1:
        return [Unit(cell.digest)]
    missing = part_arrays.missing(store, cell.digest, cell.split)
    return [Unit(cell.digest, share.number) for share in missing]


def to_merge(study: Study, store: Store, todo: Iterable[str]) -> list[Unit]:
    """List the cells whose shares are all there, or that another parent has merged meanwhile."""
    cut = [study.cells[digest] for digest in todo if study.cells[digest].split > 1]
    return [
        Unit(cell.digest)
        for cell in cut
        if store.is_done(cell.digest) or not part_arrays.missing(store, cell.digest, cell.split)
    ]


def _numbers(cell: Planned) -> Iterable[int]:
    return range(cell.split) if cell.split > 1 else (WHOLE,)
