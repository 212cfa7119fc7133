"""Tails of the per-task meta-gradients, and the number of distinct tasks."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import numpy as np

from metabench.problems.samplers import Stream, as_task
from metabench.problems.tasks import Address, tree_map
from metabench.records.rows import Row, row
from metabench.stats import tail_index
from metabench.stats.moments import Moments

if TYPE_CHECKING:
    from metabench.estimation.estimator_on_tasks import Subject

INDEX_OF_FINITE_VARIANCE = 2.0  # tail index of |g - E g| below which the variance is infinite


def measure(samples: dict[str, Moments]) -> list[Row]:
    """Return top share, tail index of |g - E g| and largest task, for the whole and each layer."""
    rows = []
    for layer, moments in samples.items():
        deviations = moments.deviations
        if not np.isfinite(deviations).all() or not deviations.any():
            continue
        rows.append(row("top_share", tail_index.top_share(deviations), layer=layer))
        index = row("tail_index", tail_index.hill(np.sqrt(deviations)), layer=layer)
        rows.append(index if index.value is not None else index._replace(status="unresolved"))
        rows.append(Row("largest_task", layer=layer, value=float(deviations.argmax())))
    return rows


def variance_is_infinite(rows: list[Row], layer: str = "") -> bool:
    """Return whether the tail index says that the variance is infinite."""
    index = [r for r in rows if r.quantity == "tail_index" and r.layer == layer]
    return any(r.value is not None and r.value < INDEX_OF_FINITE_VARIANCE for r in index)


def distinct_tasks(subject: Subject, seed: int, tasks: int) -> list[Row]:
    """Return a row with the number of distinct tasks among the draws, if any repeats.

    A task repeats if its support or its query set does, bit for bit. A finite pool whose tasks come
    with fresh examples each time can't be detected this way.

    Args:
        subject: whose sampler draws.
        seed: of every draw.
        tasks: number of draws.
    """
    if isinstance(subject.sample, Stream):  # a stream can't be read twice
        return []
    seen: tuple[set[bytes], set[bytes]] = (set(), set())
    for start in range(0, tasks, subject.compute.chunk):
        count = min(subject.compute.chunk, tasks - start)
        drawn = as_task(subject.sample(Address.fresh(start, count), seed))
        for found, data in zip(seen, (drawn.support, drawn.query), strict=True):
            found.update(_digests(data, count))
    # A set that every task shares is part of the problem, not a sign of a pool.
    different = min((len(each) for each in seen if len(each) > 1), default=1)
    return [Row("distinct_tasks", value=float(different))] if different < tasks else []


def _digests(data: Any, count: int) -> list[bytes]:
    each = [hashlib.blake2b(digest_size=16) for _ in range(count)]

    def update(leaf: Any) -> None:
        for digest, line in zip(each, leaf.detach().cpu().contiguous().numpy(), strict=True):
            digest.update(line.tobytes())

    tree_map(update, data)
    return [digest.digest() for digest in each]
