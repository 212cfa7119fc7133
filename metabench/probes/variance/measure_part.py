"""One measurement on many devices: each computes its share of the meta-gradients at every B.

The shares are what the statistics are made of, not statistics themselves: deviations from the mean,
and the values with each task left out, need the mean of all tasks first.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from metabench.probes.base import Part
from metabench.probes.variance.collect import Array, within
from metabench.problems.tasks import Address
from metabench.settings import amounts

if TYPE_CHECKING:
    from metabench.estimation.estimator_on_tasks import Subject
    from metabench.probes.variance import Variance


def measure_part(probe: Variance, subject: Subject, seed: int, share: Part) -> dict[str, Array]:
    """Compute one share of the batches at each B: `(batches, Q)`, under the name of B.

    Shares begin where a chunk does, so that the same tasks are computed together as without them.
    """
    small = within(subject, amounts.memory(probe.memory))
    nothing = subject.theta[None][:0].cpu().numpy()
    arrays: dict[str, Array] = {}
    start = 0
    for B, batches in probe.plan.items():
        first, last = share.of(batches, max(small.compute.chunk // B, 1))
        address = Address.fresh(start + B * first, B * (last - first))
        start += B * batches
        parts = (means.detach().cpu().numpy() for means in small.estimates(address, seed, B))
        arrays[str(B)] = np.concatenate([nothing, *parts])
    return arrays
