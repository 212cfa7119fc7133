"""No figure without a check: verify first, then measure; from the shell and from Python alike."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from metabench.probes.base import Probe, Progress, no_progress
from metabench.probes.verify import Verify
from metabench.records.rows import Row

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from metabench.estimation.estimator_on_tasks import Subject


def measure_checked(
    probe: Probe,
    subject: Subject,
    seed: int = 0,
    progress: Progress = no_progress,
    parts: Sequence[Mapping[str, NDArray[Any]]] = (),
) -> list[Row]:
    """Check that the meta-gradient is right, then run the probe; the checks' rows come last.

    `probe.measure` is the second half alone, for loops that check once. What `parts`, if they are
    given, hold isn't measured again; they are all that `probe.measure_part` gave, in order.

    Raises:
        InvalidInput: if the meta-gradient can't be computed at all, with the repair.
    """
    if isinstance(probe, Verify):
        return probe.measure(subject, seed, progress)
    checks = Verify(thorough=False).measure(subject, seed)
    if parts:
        return [*probe.merge(subject, seed, parts, progress), *checks]
    return [*probe.measure(subject, seed, progress), *checks]
