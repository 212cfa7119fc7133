"""What a time budget leaves out of the checks: forecast before they begin, and said after."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from metabench.algorithms.base import Algorithm
from metabench.algorithms.black_box import BlackBox
from metabench.probes.verify.limits import (
    DIFFERENCES,
    IMPLICIT,
    MEAN,
    OWN_GRADIENT,
    PRECISION,
    REPEATED,
    SYMMETRY,
    UNROLL,
    VMAP,
)
from metabench.probes.verify.measure_batched import batching_of
from metabench.probes.verify.measure_recognized import implements
from metabench.probes.verify.measure_tasks import TASKS_LOOKED_AT
from metabench.probes.verify.measure_thorough import MOST_LAYERS
from metabench.records.rows import Row

if TYPE_CHECKING:
    from metabench.estimation.estimator_on_tasks import Subject
    from metabench.probes.verify import Verify

REPETITIONS = 4  # estimates of each task before differences are taken
STEPS = 7  # losses along a direction where differences agree at once


def estimates_of(probe: Verify, layers: int) -> int:
    """Return the estimates that the checks of a right meta-gradient take.

    Args:
        probe: the checks' settings.
        layers: of theta.
    """
    lines = probe.directions + (min(layers, MOST_LAYERS) if probe.thorough else 0)
    more = TASKS_LOOKED_AT if probe.thorough else 0
    return probe.tasks * (REPETITIONS + STEPS * lines) + more


def affordable(probe: Verify, layers: int, each: float, seconds: float) -> Verify:
    """Return the most thorough checks that the time is forecast to suffice for.

    Args:
        probe: the checks that were asked for.
        layers: of theta.
        each: seconds of an estimate.
        seconds: that the checks may take.

    Returns:
        The checks; the fewest that there are where not even those fit.

    >>> import metabench as mb
    >>> affordable(mb.Verify(), layers=4, each=0.5, seconds=20.0)
    Verify(tasks=1, directions=3, thorough=False)
    """
    quick = replace(probe, thorough=False)
    one = replace(quick, tasks=1)
    for candidate in (probe, quick, one):
        if each * estimates_of(candidate, layers) <= seconds:
            return candidate
    return replace(one, directions=1)


def unmade(subject: Subject, thorough: bool, made: Sequence[Row | None]) -> list[Row]:
    """Return a row for each check that was not reached when the time was up.

    Args:
        subject: whose meta-gradient is checked.
        thorough: whether the thorough checks were asked for.
        made: rows of the checks that were made.
    """
    there = {row.of for row in made if row}
    names = [REPEATED, PRECISION, DIFFERENCES]
    algorithm = subject.algorithm
    if isinstance(algorithm, Algorithm):
        together = batching_of(subject) == "vmap" and not algorithm.loops
        names += [*([VMAP] if together else []), SYMMETRY]
        names += [IMPLICIT if algorithm.implicit() else UNROLL] if thorough else []
    if isinstance(algorithm, BlackBox) and algorithm.batched:
        names.append(MEAN)
    if implements(subject):
        names.append(OWN_GRADIENT)
    return [Row("check", of=name, status="out of time") for name in names if name not in there]
