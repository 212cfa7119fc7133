"""Which cells failed, and why?"""

from __future__ import annotations

from typing import Any

from metabench.grid.scheduling.work_units import failure
from metabench.grid.study.study import Study
from metabench.records.store.store import Store


def failures(study: Study, store: Store) -> list[dict[str, Any]]:
    """List the study's failed cells: digest, status, error, attempts."""
    states = store.standing()
    bad = [digest for digest in study.cells if states.get(digest) in ("failed", "broken")]
    keys = ("digest", "status", "error")
    records = ((digest, failure(store, digest)) for digest in bad)
    return [
        {
            **{key: record.get(key, digest) for key in keys},
            "attempts": len(record.get("attempts", [])),
        }
        for digest, record in records
    ]
