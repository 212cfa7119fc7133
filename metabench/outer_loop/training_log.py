"""What a training notes of each outer step, and of the step at which it stopped."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from metabench.problems.tasks import Task

WINDOW = 100  # steps whose median norm a meta-gradient is compared with
REFRESH_STEPS = 20  # between updates of that median, and the fewest it is taken of


class LogEntry(NamedTuple):
    """The log entry of one outer step."""

    loss: float  # mean outer loss of its tasks, at theta before the update
    norm: float  # |g| of the mean meta-gradient, before clipping
    clipped: float  # 1 if clipping changed the mean or a task's meta-gradient, else 0
    rate: float  # outer rate
    seconds: float  # including sampling


class Failure(NamedTuple):
    """The step with an unusable meta-gradient, at which training stopped."""

    step: int
    kind: str  # diverged (not finite) or exploded
    norm: float  # |g| of the mean meta-gradient
    tasks: Task


def recent_norm(log: Sequence[LogEntry]) -> float:
    """Return the median |g| of the last steps; infinite while there are too few."""
    if len(log) < REFRESH_STEPS:
        return math.inf
    return statistics.median(entry.norm for entry in log[-WINDOW:])


def log_array(log: Sequence[LogEntry]) -> NDArray[np.float64]:
    """Return the log as an array, a row per step, with the fields of `LogEntry` as columns."""
    return np.array(log, np.float64).reshape(-1, len(LogEntry._fields))
