"""How long will the open cells take, and how much memory? Judged by the cells on record."""

from __future__ import annotations

import random
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from metabench.records.store.store import Store
from metabench.settings.errors import InvalidInput
from metabench.stats.intervals import Interval

MOST = 200  # records opened: enough for a forecast, and quick


class Forecast(NamedTuple):
    """What one cell takes, by a sample of those measured."""

    cells: int  # measured cells it rests on
    seconds: float  # a cell, mean
    error: float  # standard error of that mean
    peak_bytes: float  # the largest seen

    def total(self, cells: int) -> Interval:
        """Give the seconds for so many cells one after another, with a 95 % interval."""
        half = 1.96 * self.error
        low, high = max(self.seconds - half, 0.0), self.seconds + half
        return Interval(cells * self.seconds, cells * low, cells * high)


def forecast(store: Store, digests: Iterable[str]) -> Forecast | None:
    """Sample the measured cells among these; nothing is forecast from fewer than two."""
    standing = store.standing()
    done = [digest for digest in digests if standing.get(digest) == "done"]
    sample = random.Random(0).sample(done, min(MOST, len(done)))
    records = [record for digest in sample if (record := _read(store, digest))]
    if len(records) < 2:
        return None
    seconds = np.array([record["seconds"] for record in records], float)
    peak = max(float(record.get("peak_bytes", 0)) for record in records)
    error = float(seconds.std(ddof=1)) / len(seconds) ** 0.5
    return Forecast(len(records), float(seconds.mean()), error, peak)


def _read(store: Store, digest: str) -> dict[str, float] | None:
    try:
        return store.read(digest)
    except InvalidInput:
        return None
