"""Time every algorithm, count its memory, and estimate its error on the same tasks."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import torch

from metabench.algorithms.base import Algorithm
from metabench.autodiff.stopwatch import seconds_of
from metabench.estimation.estimator_on_tasks import Subject
from metabench.estimation.inputs_not_finite import inputs_not_finite
from metabench.estimation.vectorization import first_task
from metabench.probes.base import Progress
from metabench.probes.cost.comparison_algorithms import MakeAlgorithm, comparison_algorithms
from metabench.probes.cost.error import error_rows
from metabench.problems.tasks import Address
from metabench.records.rows import Row
from metabench.settings.errors import InvalidInput
from metabench.stats.intervals import Interval
from metabench.stats.quantile_intervals import quantile_interval

if TYPE_CHECKING:
    from metabench.probes.cost import Cost

Key = tuple[str, str, int]  # (algorithm, "K" or "B", its value)
Call = tuple[Subject, int]  # whose meta-gradients are computed, of how many tasks


def measure(probe: Cost, subject: Subject, seed: int, progress: Progress) -> list[Row]:
    """Measure seconds, memory and error of every algorithm.

    Each is timed at every K for B = `batch`, and at every B for the algorithm's own K.

    Args:
        probe: its settings.
        subject: what is measured: problem, tasks, algorithm and theta.
        seed: of the tasks.
        progress: called with the calls done and the calls in all.

    Returns:
        All rows of the probe; one row "seconds", withheld, for a black box.
    """
    own = subject.algorithm
    if not isinstance(own, Algorithm):
        return [Row("seconds", status="withheld")]
    made, left_out = comparison_algorithms(subject, seed)
    calls = _calls(probe, subject, made, own.steps)
    count = _ProgressCounter((probe.rounds + 1) * len(calls) + len(made) * 4, progress)
    times = _time_in_turns(probe, calls, seed, count)
    rows = [Row("parameters", value=float(subject.problem.layouts.phi.size)), *left_out]
    for name, axis, value in sorted(set(calls) - set(times)):
        quantity = f"seconds_by_{axis.lower()}"
        rows.append(Row(quantity, at=float(value), of=name, status="out of memory"))
    for (name, axis, value), seconds in times.items():
        middle = quantile_interval(np.array(seconds))
        rows.append(_seconds_row(f"seconds_by_{axis.lower()}", middle, value, name))
        if axis == "K":
            peak = _bytes(calls[name, axis, value][0], seed)
            rows.append(Row("bytes", at=float(value), of=name, value=peak))
    here = {name: (name, "K", own.steps) for name in made if (name, "K", own.steps) in times}
    seconds_each = {name: _of_one_task(times[key], probe.batch) for name, key in here.items()}
    bytes_each = {r.of: r.value or 0.0 for r in rows if (r.quantity, r.at) == ("bytes", own.steps)}
    subjects = {name: calls[key][0] for name, key in here.items()}
    rows += error_rows(probe, subjects, seconds_each, bytes_each, seed, count)
    rows += inputs_not_finite(subject, Address.fresh(0, probe.tasks), seed)
    count.finish()
    return rows


class _ProgressCounter:
    """Counts finished calls and reports them as progress."""

    def __init__(self, total: int, progress: Progress) -> None:
        self.total, self.progress, self.done = total, progress, 0

    def __call__(self, count: int = 1) -> None:
        self.done += count
        self.progress(min(self.done, self.total), self.total)

    def finish(self) -> None:
        self.progress(self.total, self.total)


def _calls(
    probe: Cost, subject: Subject, made: dict[str, MakeAlgorithm], K: int
) -> dict[Key, Call]:
    """Return what to time: every algorithm at each K for B = `batch`, and at each B for K."""
    calls: dict[Key, Call] = {}
    for name, make in made.items():
        for k in sorted({*probe.steps, K}):
            if timed := _with_algorithm(subject, make, k):
                calls[name, "K", k] = timed, probe.batch
        # not the subject timed at K: a call of the same shape there would be counted for tracing
        if timed := _with_algorithm(subject, make, K):
            calls |= {(name, "B", B): (timed, B) for B in probe.sizes}
    return calls


def _time_in_turns(
    probe: Cost, calls: dict[Key, Call], seed: int, count: _ProgressCounter
) -> dict[Key, list[float]]:
    """Time all calls in turns, so that a busy moment affects all; skip those out of memory."""
    times: dict[Key, list[float]] = {key: [] for key in calls}
    for turn in range(probe.rounds + 1):  # the first is a warm-up
        for key, (timed, B) in calls.items():
            count()
            if key not in times:
                continue
            try:
                seconds = _seconds(timed, B, seed)
            except (torch.OutOfMemoryError, MemoryError):  # at this K or B, not at smaller ones
                del times[key]
                continue
            if turn:
                times[key].append(seconds)
    return times


def _with_algorithm(subject: Subject, make: MakeAlgorithm, K: int) -> Subject | None:
    """Return the subject with the algorithm at K steps, or None if it refuses this K."""
    try:
        return replace(subject, algorithm=make(K))
    except InvalidInput:
        return None


def _of_one_task(seconds: list[float], batch: int) -> Interval:
    """Return the time of one task, with its interval, from calls of `batch` tasks."""
    return Interval(*(each / batch for each in quantile_interval(np.array(seconds))))


def _seconds_row(quantity: str, seconds: Interval, at: int, name: str) -> Row:
    """Return the median; below six calls its order statistics don't reach 95 %."""
    value, low, high = seconds
    if not np.isfinite([low, high]).all():
        return Row(quantity, at=float(at), of=name, value=value)
    return Row(quantity, at=float(at), of=name, value=value, low=low, high=high)


def _seconds(subject: Subject, B: int, seed: int) -> float:
    address = Address.fresh(0, B)
    return seconds_of(lambda: subject.meta_gradients(address, seed), subject.theta.device)


def _bytes(subject: Subject, seed: int) -> float:
    """Count the peak memory of one task's meta-gradient [bytes]."""
    tasks = subject.draw(Address.fresh(0, 1), seed)
    algorithm, _ = subject.resolved(tasks)
    return float(subject.work(first_task(tasks), algorithm).bytes)
