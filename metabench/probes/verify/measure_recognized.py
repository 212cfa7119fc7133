"""Recognize what a gradient is that a check found wrong."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch

from metabench.algorithms import counterparts
from metabench.algorithms.base import Algorithm, MetaGrad
from metabench.algorithms.black_box import BlackBox
from metabench.probes.verify.limits import DIFFERENCES, OWN_GRADIENT, OWN_LOSS, UNROLL
from metabench.probes.verify.measure_causes import causes
from metabench.probes.verify.measure_differences import directions
from metabench.probes.verify.measure_implemented import UNKNOWN, slips
from metabench.problems.tasks import Task
from metabench.records.rows import Row

if TYPE_CHECKING:
    from metabench.estimation.estimator_on_tasks import Subject
    from metabench.probes.verify import Verify

JUDGED = {DIFFERENCES, UNROLL, OWN_GRADIENT}  # checks of the gradient
WRONG = ("wrong", "mismatch", "not implemented")  # statuses of checks that a cause may explain


def implements(subject: Subject) -> Algorithm | None:
    """Return the algorithm that a black box is meant to be, if it says so."""
    algorithm = subject.algorithm
    return algorithm.implements if isinstance(algorithm, BlackBox) else None


def recognized(
    probe: Verify, subject: Subject, tasks: Task, found: MetaGrad, rows: Sequence[Row | None]
) -> list[Row]:
    """Return rows on what a wrong gradient is.

    Args:
        probe: gives the number of directions.
        subject: at a theta in float64.
        tasks: with a leading axis.
        found: the estimates of these tasks.
        rows: of the checks.

    Returns:
        None where no check found it wrong, or where it is a multiple of the right one.
    """
    made = [row for row in rows if row]
    wrong = {row.of for row in made if row.status in WRONG} & JUDGED
    multiple = any(row.quantity == "factor" and not row.layer for row in made)
    if not wrong or multiple or not torch.isfinite(found.grad).all():
        return []
    known = _slips(subject, tasks, found, made)
    if DIFFERENCES not in wrong or any(row.of != UNKNOWN for row in known):
        return known
    along = directions(len(subject.theta), max(probe.directions, 2), subject.theta)
    return causes(subject, tasks, found.grad, along) or known


def _slips(subject: Subject, tasks: Task, found: MetaGrad, rows: Sequence[Row]) -> list[Row]:
    """Return rows on the slip of an algorithm whose loss is right.

    Args:
        subject: at a theta in float64.
        tasks: with a leading axis.
        found: the estimates of these tasks.
        rows: of the checks.
    """
    if any(row.of == OWN_LOSS and row.status != "ok" for row in rows):
        return []
    meant = _meant(subject)
    known = slips(subject, meant, tasks, found.grad) if meant and meant.exact else []
    passed = any(row.layer and row.of in JUDGED and row.status == "ok" for row in rows)
    # a slip in the second-order terms spoils every layer; the layers that fail are named then
    return [row for row in known if not (passed and row.of == UNKNOWN)]


def _meant(subject: Subject) -> Algorithm | None:
    """Return the exact algorithm whose slips are looked for, None if there is none."""
    algorithm = subject.algorithm
    if isinstance(algorithm, Algorithm) and algorithm.exact and algorithm.loop(subject.problem):
        return counterparts.exact(algorithm, algorithm.steps)
    return implements(subject)
