"""Time every algorithm in turn, count its bytes, and estimate its error on the same tasks."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import torch

from metabench.algorithms.base import Algorithm
from metabench.autodiff.operation_counts import work_of
from metabench.autodiff.stopwatch import seconds_of
from metabench.estimation.estimator_on_tasks import Subject
from metabench.estimation.vectorization import first_task
from metabench.probes.base import Progress
from metabench.probes.cost.comparison_algorithms import Make, rivals
from metabench.probes.cost.error import errors
from metabench.problems.tasks import Address
from metabench.records.rows import Row
from metabench.settings.errors import Misuse
from metabench.stats.intervals import Interval
from metabench.stats.quantile_intervals import quantile_interval

if TYPE_CHECKING:
    from metabench.probes.cost import Cost

Key = tuple[str, str, int]  # (algorithm, "K" or "B", its value)


def measure(probe: Cost, subject: Subject, seed: int, progress: Progress) -> list[Row]:
    """Price every algorithm at each K for B = `batch`, at each B for one's own K, and its error."""
    own = subject.algorithm
    if not isinstance(own, Algorithm):
        return [Row("seconds", status="withheld")]
    made, refused = rivals(subject, seed)
    K = own.steps
    ladder = tuple(sorted({*probe.steps, K}))
    cells: dict[Key, tuple[Subject, int]] = {}
    for name, make in made.items():
        for k in ladder:
            if looked := _looked(subject, make, k):
                cells[name, "K", k] = looked, probe.batch
        for B in probe.sizes:
            if looked := _looked(subject, make, K):
                cells[name, "B", B] = looked, B
    total = (probe.rounds + 1) * len(cells) + len(made) * 4
    done = 0

    def advance(count: int = 1) -> None:
        nonlocal done
        done += count
        progress(min(done, total), total)

    lost: set[Key] = set()
    taken: dict[Key, list[float]] = {key: [] for key in cells}
    for turn in range(probe.rounds + 1):  # the first is a warm-up
        for key, (looked, B) in cells.items():
            advance()
            if key in lost:
                continue
            try:
                seconds = _seconds(looked, B, seed)
            except (torch.OutOfMemoryError, MemoryError):  # at this K or B; smaller ones are told
                lost.add(key)
                continue
            if turn:
                taken[key].append(seconds)
    for key in lost:
        del cells[key]
    rows = [Row("parameters", value=float(subject.problem.layouts.phi.size)), *refused]
    for name, axis, value in sorted(lost):
        quantity = f"seconds_by_{axis.lower()}"
        rows.append(Row(quantity, at=float(value), of=name, status="out of memory"))
    for (name, axis, value), (looked, _) in cells.items():
        middle = quantile_interval(np.array(taken[name, axis, value]))
        rows.append(_timed(f"seconds_by_{axis.lower()}", middle, value, name))
        if axis == "K":
            rows.append(Row("bytes", at=float(value), of=name, value=_bytes(looked, seed)))
    each = {name: float(np.median(taken[name, "K", K])) / probe.batch
            for name in made if (name, "K", K) in cells}  # fmt: skip
    held = {r.of: r.value or 0.0 for r in rows if r.quantity == "bytes" and r.at == K}
    lookeds = {name: cells[name, "K", K][0] for name in each}
    rows += errors(probe, lookeds, each, held, seed, advance)
    progress(total, total)
    return rows


def _looked(subject: Subject, make: Make, K: int) -> Subject | None:
    """Look through an algorithm with K steps; None where it takes none, as reptile does 0."""
    try:
        return replace(subject, algorithm=make(K))
    except Misuse:
        return None


def _timed(quantity: str, seconds: Interval, at: int, name: str) -> Row:
    """Give the median; below six calls its order statistics don't reach 95 %."""
    value, low, high = seconds
    if not np.isfinite([low, high]).all():
        return Row(quantity, at=float(at), of=name, value=value)
    return Row(quantity, at=float(at), of=name, value=value, low=low, high=high)


def _seconds(subject: Subject, B: int, seed: int) -> float:
    address = Address.fresh(0, B)
    return seconds_of(lambda: subject.meta_gradients(address, seed), subject.theta.device)


def _bytes(subject: Subject, seed: int) -> float:
    """Count the most bytes that one task's meta-gradient holds at once."""
    tasks = subject.draw(Address.fresh(0, 1), seed)
    algorithm, _ = subject.settled(tasks)
    work = work_of(algorithm, subject.problem, subject.theta, first_task(tasks))
    return float(work.bytes)
