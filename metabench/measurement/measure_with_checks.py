"""Measurement with a probe after a check of the meta-gradient."""

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
    """Check that the meta-gradient is correct, then run the probe; the checks' rows come last.

    `probe.measure` alone omits the checks, for loops that check once.

    Args:
        probe: to run.
        subject: problem, sampler, algorithm and theta.
        seed: of the tasks.
        progress: called with steps done and in all.
        parts: arrays of all parts from `probe.measure_part`, in order; they are merged, not
            measured again.

    >>> import metabench as mb
    >>> family = mb.Quadratic(dim=2)
    >>> subject = mb.Subject(family.problem(), family.sample, mb.MAML(), family.theta(0))
    >>> rows = mb.measure_checked(mb.Verify(tasks=2, thorough=False), subject)
    >>> {row.quantity for row in rows}
    {'check'}

    Raises:
        InvalidInput: if the meta-gradient can't be computed; says what to change.
    """
    if isinstance(probe, Verify):
        return probe.measure(subject, seed, progress)
    checks = Verify(thorough=False).measure(subject, seed)
    if parts:
        return [*probe.merge(subject, seed, parts, progress), *checks]
    return [*probe.measure(subject, seed, progress), *checks]
