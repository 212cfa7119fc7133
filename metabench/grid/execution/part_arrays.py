"""Arrays of the parts of a cell that is split, kept until all parts are measured and merged.

    parts/<digest>/3-of-8.npz   what a probe's `measure_part` returned, and its cost

The arrays of a cell are removed once its record is there.
"""

from __future__ import annotations

import shutil
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from metabench.probes.base import Part
from metabench.records import atomic_files, ordinary_files
from metabench.records.store.store import Store

COST = "took"  # name of the array (seconds, peak bytes) beside the probe's arrays
Arrays = Mapping[str, NDArray[Any]]


class PartCost(NamedTuple):
    """Time and memory of one or several parts of a cell."""

    seconds: float  # the sum over parts
    peak_bytes: float  # the largest of the parts


def path(store: Store, digest: str, part: Part) -> Path:
    """Return the path of one part's file.

    Args:
        store: the store of the study's results.
        digest: the cell.
        part: which part of the cell.
    """
    return store.folder / "parts" / digest / f"{part.number}-of-{part.total}.npz"


def is_there(store: Store, digest: str, part: Part) -> bool:
    """Return whether a part has been measured; an incomplete file counts as missing.

    Args:
        store: the store of the study's results.
        digest: the cell.
        part: which part of the cell.
    """
    place = path(store, digest, part)
    return place.is_file() and zipfile.is_zipfile(place)


def missing(store: Store, digest: str, total: int) -> list[Part]:
    """List the parts of a cell that are not measured yet.

    Args:
        store: the store of the study's results.
        digest: the cell.
        total: parts that the cell is split into.
    """
    return [
        part for number in range(total) if not is_there(store, digest, part := Part(number, total))
    ]


def save(store: Store, digest: str, part: Part, arrays: Arrays, cost: PartCost) -> None:
    """Write the arrays of one part; the file replaces an earlier one at once or not at all.

    Args:
        store: the store of the study's results.
        digest: the cell.
        part: which part of the cell.
        arrays: the result of the probe's `measure_part`.
        cost: seconds and peak memory of measuring it.
    """
    place = path(store, digest, part)
    place.parent.mkdir(parents=True, exist_ok=True)
    ordinary_files.make_room(place, store.aside)
    with atomic_files.replacing(place) as file:
        np.savez(file, allow_pickle=False, **{COST: np.array(cost), **arrays})


def read(store: Store, digest: str, total: int) -> tuple[list[Arrays], PartCost]:
    """Open the arrays of all parts, each read on access, and return them with their total cost.

    Args:
        store: the store of the study's results.
        digest: the cell.
        total: parts that the cell is split into.
    """
    found = [np.load(path(store, digest, Part(number, total))) for number in range(total)]
    cost = np.array([each[COST] for each in found])
    return found, PartCost(float(cost[:, 0].sum()), float(cost[:, 1].max()))


def set_aside_damaged(store: Store, digest: str, total: int) -> list[Path]:
    """Move away the files of parts whose contents fail their checksums; return where they are.

    Args:
        store: the store of the study's results.
        digest: the cell.
        total: parts that the cell is split into.
    """
    places = (path(store, digest, Part(number, total)) for number in range(total))
    moved = [
        ordinary_files.set_aside(place, store.aside)
        for place in places
        if place.is_file() and not _is_whole(place)
    ]
    return [place for place in moved if place]


def _is_whole(place: Path) -> bool:
    """Return whether a file of arrays holds what was written, cost included."""
    try:
        with zipfile.ZipFile(place) as held:
            return held.testzip() is None and f"{COST}.npy" in held.namelist()
    except (zipfile.BadZipFile, zlib.error, NotImplementedError, EOFError, ValueError):
        return False


def remove(store: Store, digest: str) -> None:
    """Delete the arrays of a cell."""
    shutil.rmtree(store.folder / "parts" / digest, ignore_errors=True)
