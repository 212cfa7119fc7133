"""Forecast of a cell's memory: the peak of measured cells with the same settings but the seed."""

from __future__ import annotations

import json
import random
from collections.abc import Iterable, Mapping
from typing import Any

from metabench.grid.execution.run_cell import Outcome
from metabench.records.store.store import Store
from metabench.settings.errors import InvalidInput

MOST_RECORDS_READ = 200


class MemoryForecast:
    """Peak memory by kind of cell [bytes]; zero for kinds that were not measured yet."""

    def __init__(self) -> None:
        """Create a forecast without measurements."""
        self._peaks: dict[str, float] = {}

    @classmethod
    def on_record(cls, store: Store, measured: Iterable[str]) -> MemoryForecast:
        """Create a forecast from a sample of the measured cells."""
        forecast, done = cls(), list(measured)
        for digest in random.Random(0).sample(done, min(MOST_RECORDS_READ, len(done))):
            try:
                record = store.read(digest) or {}
            except InvalidInput:
                continue
            if "spec" in record:
                forecast._record_peak(kind(record["spec"]), float(record.get("peak_bytes", 0.0)))
        return forecast

    def learn(self, spec: Mapping[str, Any], outcome: Outcome) -> None:
        """Add the peak memory of a cell that ended."""
        self._record_peak(kind(spec), outcome.peak_bytes)

    def expected_bytes(self, spec: Mapping[str, Any]) -> float:
        """Return the expected memory of a cell [bytes]; 0 if unknown."""
        return self._peaks.get(kind(spec), 0.0)

    def _record_peak(self, kind: str, peak: float) -> None:
        self._peaks[kind] = max(self._peaks.get(kind, 0.0), peak)


def kind(spec: Mapping[str, Any]) -> str:
    """Return a key that cells share if they differ only in their seed."""
    return json.dumps({key: value for key, value in spec.items() if key != "seed"}, sort_keys=True)
