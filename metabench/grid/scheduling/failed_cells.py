"""The failed cells of a study, with reasons."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from metabench.grid.scheduling.work_units import failure
from metabench.grid.study.study import Study
from metabench.records.store.store import Store


def failures(
    study: Study, store: Store, standing: Mapping[str, str] | None = None
) -> list[dict[str, Any]]:
    """List the study's failed cells: digest, status, error, attempts.

    Args:
        study: the study.
        store: the store of its results.
        standing: the state of each cell, as `store.standing()` gives it; None reads it.
    """
    states = store.standing() if standing is None else standing
    failing = {digest for digest, state in states.items() if state in ("failed", "broken")}
    bad = [digest for digest in study.cells if digest in failing] if failing else []
    records = ((digest, failure(store, digest)) for digest in bad)
    return [
        {
            "digest": digest,
            "status": record["outcome"],
            "error": record.get("error", ""),
            "attempts": len(record.get("attempts", [])),
        }
        for digest, record in records
    ]
