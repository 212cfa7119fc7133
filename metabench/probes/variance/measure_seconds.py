"""How long does the mean meta-gradient of B tasks take?"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from metabench.autodiff.stopwatch import seconds_of
from metabench.problems.tasks import Address
from metabench.records.rows import Row
from metabench.stats.intervals import Vector

if TYPE_CHECKING:
    from metabench.estimation.estimator_on_tasks import Subject


TIMED_CALLS = 3
TIMED_CALLS_COMPARED = 7  # fewer than 6 give the median no interval


def seconds_row(subject: Subject, seed: int, B: int, start: int) -> Row:
    """Return the median time of a meta-gradient over B fresh tasks, sampling included.

    Args:
        subject: what is measured.
        seed: of every draw.
        B: tasks in a batch.
        start: the first index of tasks that were not drawn yet.
    """
    seconds = timed_calls(subject, seed, B, start, TIMED_CALLS)
    return Row("seconds", at=float(B), value=float(np.median(seconds)))


def timed_calls(subject: Subject, seed: int, B: int, start: int, calls: int) -> Vector:
    """Return the seconds of several meta-gradients over B fresh tasks each, `(calls,)`.

    Args:
        subject: what is measured.
        seed: of every draw.
        B: tasks in a batch.
        start: the first index of tasks that were not drawn yet.
        calls: number of meta-gradients.
    """
    fresh = (Address.fresh(start + call * B, B) for call in range(calls))
    return np.array([seconds_taken(subject, address, seed, B) for address in fresh])


def seconds_taken(subject: Subject, address: Address, seed: int, size: int) -> float:
    """Return the seconds that the means over `size` of the addressed draws take.

    Args:
        subject: what is measured.
        address: the draws.
        seed: of every draw.
        size: B, tasks in a batch.
    """

    def drawn() -> None:
        for _ in subject.estimates(address, seed, size):
            pass

    return seconds_of(drawn, subject.theta.device)
