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
from metabench.probes.cost.comparison_algorithms import Make, comparison_algorithms
from metabench.probes.cost.error import errors
from metabench.problems.tasks import Address
from metabench.records.rows import Row
from metabench.settings.errors import InvalidInput
from metabench.stats.intervals import Interval
from metabench.stats.quantile_intervals import quantile_interval

if TYPE_CHECKING:
    from metabench.probes.cost import Cost

Key = tuple[str, str, int]  # (algorithm, "K" or "B", its value)
Cell = tuple[Subject, int]  # what is looked through, and how many tasks


def measure(probe: Cost, subject: Subject, seed: int, progress: Progress) -> list[Row]:
    """Price every algorithm at each K for B = `batch`, at each B for one's own K, and its error."""
    own = subject.algorithm
    if not isinstance(own, Algorithm):
        return [Row("seconds", status="withheld")]
    made, refused = comparison_algorithms(subject, seed)
    cells = _cells(probe, subject, made, own.steps)
    count = _Count((probe.rounds + 1) * len(cells) + len(made) * 4, progress)
    taken = _taken(probe, cells, seed, count)
    rows = [Row("parameters", value=float(subject.problem.layouts.phi.size)), *refused]
    for name, axis, value in sorted(set(cells) - set(taken)):
        quantity = f"seconds_by_{axis.lower()}"
        rows.append(Row(quantity, at=float(value), of=name, status="out of memory"))
    for (name, axis, value), seconds in taken.items():
        middle = quantile_interval(np.array(seconds))
        rows.append(_timed(f"seconds_by_{axis.lower()}", middle, value, name))
        if axis == "K":
            held = _bytes(cells[name, axis, value][0], seed)
            rows.append(Row("bytes", at=float(value), of=name, value=held))
    here = {name: (name, "K", own.steps) for name in made if (name, "K", own.steps) in taken}
    seconds_each = {name: float(np.median(taken[key])) / probe.batch for name, key in here.items()}
    bytes_each = {r.of: r.value or 0.0 for r in rows if (r.quantity, r.at) == ("bytes", own.steps)}
    lookeds = {name: cells[key][0] for name, key in here.items()}
    rows += errors(probe, lookeds, seconds_each, bytes_each, seed, count)
    count.finish()
    return rows


class _Count:
    """How far the measurement has come, told to whoever asked."""

    def __init__(self, total: int, progress: Progress) -> None:
        self.total, self.progress, self.done = total, progress, 0

    def __call__(self, count: int = 1) -> None:
        self.done += count
        self.progress(min(self.done, self.total), self.total)

    def finish(self) -> None:
        self.progress(self.total, self.total)


def _cells(probe: Cost, subject: Subject, made: dict[str, Make], K: int) -> dict[Key, Cell]:
    """Give what is timed: every algorithm at each K for B = `batch`, at each B for one's own K."""
    cells: dict[Key, Cell] = {}
    for name, make in made.items():
        for k in sorted({*probe.steps, K}):
            if looked := _looked(subject, make, k):
                cells[name, "K", k] = looked, probe.batch
        for B in probe.sizes:
            if looked := _looked(subject, make, K):
                cells[name, "B", B] = looked, B
    return cells


def _taken(probe: Cost, cells: dict[Key, Cell], seed: int, count: _Count) -> dict[Key, list[float]]:
    """Time each in turn, so that a busy moment meets all; out of memory, a cell is left out."""
    taken: dict[Key, list[float]] = {key: [] for key in cells}
    for turn in range(probe.rounds + 1):  # the first is a warm-up
        for key, (looked, B) in cells.items():
            count()
            if key not in taken:
                continue
            try:
                seconds = _seconds(looked, B, seed)
            except (torch.OutOfMemoryError, MemoryError):  # at this K or B; smaller ones are told
                del taken[key]
                continue
            if turn:
                taken[key].append(seconds)
    return taken


def _looked(subject: Subject, make: Make, K: int) -> Subject | None:
    """Look through an algorithm with K steps; None where it takes none, as reptile does 0."""
    try:
        return replace(subject, algorithm=make(K))
    except InvalidInput:
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
    algorithm, _ = subject.resolved(tasks)
    work = work_of(algorithm, subject.problem, subject.theta, first_task(tasks))
    return float(work.bytes)
