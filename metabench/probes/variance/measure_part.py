"""One part of the meta-gradients at every B, for measurements split over devices.

A part holds the meta-gradients themselves, not statistics of them: deviations and delete-one values
need the mean over all tasks first.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from metabench.probes.base import Part
from metabench.probes.variance.collect import Array, limit_chunk
from metabench.problems.tasks import Address
from metabench.settings import amounts

if TYPE_CHECKING:
    from metabench.estimation.estimator_on_tasks import Subject
    from metabench.probes.variance import Variance


def measure_part(probe: Variance, subject: Subject, seed: int, part: Part) -> dict[str, Array]:
    """Return the meta-gradients of one part of the batches at each B, `(batches, Q)` by B.

    Parts begin where a chunk does, so that the same tasks are computed together as without parts.

    Args:
        probe: settings of the measurement.
        subject: the algorithm, problem and theta to measure.
        seed: of every draw.
        part: which part of the batches.
    """
    small = limit_chunk(subject, amounts.memory(probe.memory))
    nothing = subject.theta[None][:0].cpu().numpy()
    arrays: dict[str, Array] = {}
    start = 0
    for B, batches in probe.plan.items():
        first, last = part.bounds(batches, max(small.compute.chunk // B, 1))
        address = Address.fresh(start + B * first, B * (last - first))
        start += B * batches
        parts = (means.detach().cpu().numpy() for means in small.estimates(address, seed, B))
        arrays[str(B)] = np.concatenate([nothing, *parts])
    return arrays
