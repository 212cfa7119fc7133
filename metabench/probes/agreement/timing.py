"""What a method costs: seconds of a call, measured in turn, and bytes of one task, counted."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from metabench.autodiff.stopwatch import seconds_of
from metabench.problems.tasks import Address
from metabench.records.rows import Row

if TYPE_CHECKING:
    from metabench.probes.agreement import Agreement
    from metabench.probes.agreement.method_runs import MethodRun


def prices(probe: Agreement, looks: Mapping[tuple[str, int], MethodRun]) -> list[Row]:
    """Give `seconds` of the meta-gradients of all tasks, and `bytes` that live at once for one.

    `looks` are by method and K. Methods take turns, so that a busy moment of the machine meets
    them all; of each the median counts. All have been called before, with the same shapes.
    """
    address = Address.fresh(0, probe.tasks)
    taken: dict[tuple[str, int], list[float]] = {key: [] for key in looks}
    for _ in range(probe.rounds):
        for key, look in looks.items():
            device = look.subject.theta.device
            taken[key].append(seconds_of(partial(look, address), device))
    rows = []
    for (name, K), look in looks.items():
        rows.append(Row("seconds", at=float(K), of=name, value=float(np.median(taken[name, K]))))
        rows.append(Row("bytes", at=float(K), of=name, value=float(look.work().bytes)))
    return rows
