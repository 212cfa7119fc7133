"""Seconds and bytes of each method."""

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


def cost_rows(probe: Agreement, methods: Mapping[tuple[str, int], MethodRun]) -> list[Row]:
    """Return median `seconds` of the meta-gradients of all tasks, and peak `bytes` of one task.

    `methods` are by name and K. They are timed in turns, so that a busy moment of the machine
    affects all of them. All have been called before with the same shapes.
    """
    address = Address.fresh(0, probe.tasks)
    times: dict[tuple[str, int], list[float]] = {key: [] for key in methods}
    for _ in range(probe.rounds):
        for key, method in methods.items():
            device = method.subject.theta.device
            times[key].append(seconds_of(partial(method, address), device))
    rows = []
    for (name, K), method in methods.items():
        rows.append(Row("seconds", at=float(K), of=name, value=float(np.median(times[name, K]))))
        rows.append(Row("bytes", at=float(K), of=name, value=float(method.work().bytes)))
    return rows
