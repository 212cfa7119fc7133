"""Forecast of the time and memory of open cells from a sample of measured ones."""

from __future__ import annotations

import random
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from metabench.records.store.store import Store
from metabench.settings.errors import InvalidInput
from metabench.stats.intervals import Interval

MOST_RECORDS_READ = 200


class Forecast(NamedTuple):
    """Expected time and memory of one cell."""

    cells: int  # measured cells in the sample
    seconds: float  # mean per cell
    error: float  # standard error of that mean
    peak_bytes: float  # the largest of the sample

    def total(self, cells: int) -> Interval:
        """Return the seconds for `cells` cells one after another, with a 95 % interval."""
        half = 1.96 * self.error
        low, high = max(self.seconds - half, 0.0), self.seconds + half
        return Interval(cells * self.seconds, cells * low, cells * high)


def forecast(store: Store, digests: Iterable[str]) -> Forecast | None:
    """Return a forecast from a sample of the measured cells; None if fewer than two."""
    standing = store.standing()
    done = [digest for digest in digests if standing.get(digest) == "done"]
    sample = random.Random(0).sample(done, min(MOST_RECORDS_READ, len(done)))
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
