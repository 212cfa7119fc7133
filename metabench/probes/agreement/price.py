"""What a method costs: seconds of a call, measured in turn, and bytes of one task, counted."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import numpy as np

from metabench.lift import first_task
from metabench.problem import Address
from metabench.rows import Row
from metabench.work import work_of

if TYPE_CHECKING:
    from metabench.probes.agreement import Agreement
    from metabench.subject import Subject

Cells = dict[tuple[str, int], "Subject"]  # (method, K) -> the subject to call


def prices(probe: Agreement, cells: Cells, seed: int) -> list[Row]:
    """Give `seconds` of the meta-gradients of all tasks, and `bytes` that live at once for one.

    Methods take turns, so that a busy moment of the machine meets them all; of each the median
    counts. All have been called before, with the same shapes.
    """
    address = Address.fresh(0, probe.tasks)
    taken: dict[tuple[str, int], list[float]] = {key: [] for key in cells}
    for _ in range(probe.rounds):
        for key, subject in cells.items():
            begun = time.perf_counter()
            subject.meta_gradients(address, seed)
            taken[key].append(time.perf_counter() - begun)
    rows = []
    for (name, K), subject in cells.items():
        seconds = taken[name, K]
        rows.append(Row("seconds", at=float(K), of=name, value=float(np.median(seconds))))
        algorithm, _ = subject.settled(subject.draw(address.part(0, 1), seed))
        task = first_task(subject.draw(address.part(0, 1), seed))
        work = work_of(algorithm, subject.problem, subject.theta, task)
        rows.append(Row("bytes", at=float(K), of=name, value=float(work.bytes)))
    return rows
