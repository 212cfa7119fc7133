"""How much memory will a cell take? As much as the largest like it: the same but for its seed."""

from __future__ import annotations

import json
import random
from collections.abc import Iterable, Mapping
from typing import Any

from metabench.grid.execution.run_cell import Outcome
from metabench.records.store.store import Store
from metabench.settings.errors import InvalidInput

MOST = 200  # records that are opened for it


class Needs:
    """Peak memory by kind of cell [bytes]; zero until one of its kind has been measured."""

    def __init__(self) -> None:
        """Know nothing."""
        self._peaks: dict[str, float] = {}

    @classmethod
    def on_record(cls, store: Store, digests: Iterable[str]) -> Needs:
        """Learn from a sample of the cells that were measured."""
        needs = cls()
        standing = store.standing()
        done = [digest for digest in digests if standing.get(digest) == "done"]
        for digest in random.Random(0).sample(done, min(MOST, len(done))):
            try:
                record = store.read(digest) or {}
            except InvalidInput:
                continue
            if "spec" in record:
                needs._grow(kind(record["spec"]), float(record.get("peak_bytes", 0.0)))
        return needs

    def learn(self, spec: Mapping[str, Any], outcome: Outcome) -> None:
        """Learn from a cell that ended."""
        self._grow(kind(spec), outcome.peak_bytes)

    def of(self, spec: Mapping[str, Any]) -> float:
        """Give what a cell is expected to take [bytes]."""
        return self._peaks.get(kind(spec), 0.0)

    def _grow(self, kind: str, peak: float) -> None:
        self._peaks[kind] = max(self._peaks.get(kind, 0.0), peak)


def kind(spec: Mapping[str, Any]) -> str:
    """Name the cells that differ in nothing but their seed."""
    return json.dumps({key: value for key, value in spec.items() if key != "seed"}, sort_keys=True)
