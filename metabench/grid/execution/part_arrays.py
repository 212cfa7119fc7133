"""One large cell on many devices: its shares are kept as arrays until all are there to be merged.

    parts/<digest>/3-of-8.npz   what a probe's `measure_part` gave, and what that took

The arrays of a cell are removed once its record is there.
"""

from __future__ import annotations

import shutil
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from metabench.probes.base import Part
from metabench.records import atomic_files, ordinary_files
from metabench.records.store.store import Store

TOOK = "took"  # the array of seconds and peak bytes that stands beside a probe's own
Arrays = Mapping[str, NDArray[Any]]


class PartCost(NamedTuple):
    """What the shares of a cell took, together."""

    seconds: float
    peak_bytes: float


def path(store: Store, digest: str, share: Part) -> Path:
    """Name the file of one share's arrays."""
    return store.folder / "parts" / digest / f"{share.number}-of-{share.total}.npz"


def is_there(store: Store, digest: str, share: Part) -> bool:
    """Tell whether a share has been measured; half a file has not."""
    place = path(store, digest, share)
    return place.is_file() and zipfile.is_zipfile(place)


def missing(store: Store, digest: str, total: int) -> list[Part]:
    """List the shares of a cell that are to be measured."""
    return [
        share
        for number in range(total)
        if not is_there(store, digest, share := Part(number, total))
    ]


def keep(store: Store, digest: str, share: Part, arrays: Arrays, took: PartCost) -> None:
    """Write down the arrays of one share, whole or not at all."""
    place = path(store, digest, share)
    place.parent.mkdir(parents=True, exist_ok=True)
    ordinary_files.make_room(place, store.aside)
    with atomic_files.replacing(place) as file:
        np.savez(file, allow_pickle=False, **{TOOK: np.array(took), **arrays})


def read(store: Store, digest: str, total: int) -> tuple[list[Arrays], PartCost]:
    """Open the arrays of all shares, each read when asked for, and sum up what they took."""
    found = [np.load(path(store, digest, Part(number, total))) for number in range(total)]
    took = np.array([each[TOOK] for each in found])
    return found, PartCost(float(took[:, 0].sum()), float(took[:, 1].max()))


def drop(store: Store, digest: str) -> None:
    """Remove the arrays of a cell."""
    shutil.rmtree(store.folder / "parts" / digest, ignore_errors=True)
