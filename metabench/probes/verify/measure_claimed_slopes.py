"""Are the slopes that a gradient claims those of the reported loss, by finite differences?"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from metabench.algorithms.base import MetaGrad
from metabench.algorithms.black_box import BlackBox
from metabench.estimation.vectorization import Vectorization
from metabench.probes.verify.limits import (
    DIFFERENCES,
)
from metabench.probes.verify.measure_differences import differences, directions
from metabench.probes.verify.measure_precision import (
    Precision,
    unit_of_loss,
)
from metabench.problems.tasks import Task
from metabench.records.rows import Row

if TYPE_CHECKING:
    from metabench.estimation.estimator_on_tasks import Subject
    from metabench.probes.verify import Verify


def claimed_slopes(
    probe: Verify, subject: Subject, tasks: Task, found: MetaGrad, lowest: Precision
) -> list[Row]:
    """Hold the claimed slope along random directions against differences of the reported loss.

    Args:
        probe: its settings.
        subject: what is measured.
        tasks: with a leading axis.
        found: the estimates of these tasks.
        lowest: the lowest precision of the model.
    """
    algorithm = subject.algorithm
    black_box = isinstance(algorithm, BlackBox)
    status = _not_comparable(found, black_box)
    if not status and subject.problem.sampling:
        status = "sampled"  # the samples jump with theta, and the derivatives are of their law
    if status:
        return [Row("check", of=DIFFERENCES, status=status)]
    engine = "eager" if subject.compute.looped_because else "auto"
    loss = Vectorization("loop", engine=engine).per_task(
        lambda theta, task: algorithm.differentiated(subject.problem, theta, task)
    )
    if not algorithm.exact and loss(subject.theta, tasks).isnan().all():
        return [Row("check", of=DIFFERENCES, status="open")]  # the gradient of no loss, by design
    count, theta = len(subject.theta), subject.theta.double()
    size = found.grad.norm(dim=1) / count**0.5
    size = torch.where(size > 0, size, 1)
    along = directions(count, probe.directions, theta)

    def losses(at: Tensor) -> Tensor:  # in the subject's dtype, which some code fixes
        values: Tensor = loss(at.to(subject.theta), tasks)
        return values.to(theta.dtype)

    unit = unit_of_loss(losses, theta, size, along[:2], lowest)
    judged = differences(losses, theta, found.grad, size, along, unit)
    if not (algorithm.exact or black_box):  # off by design: reported, not judged
        status = judged.status if judged.status in ("kink", "unresolved") else "approximate"
        return [judged._replace(status=status).row()]
    if subject.problem.sampled and judged.status == "wrong":
        return [Row("check", of=DIFFERENCES, status="sampled")]
    row = judged.row("mismatch" if black_box else "wrong")
    if judged.status != "wrong" or judged.factor != judged.factor:
        return [row]
    return [row, Row("factor", of=DIFFERENCES, value=judged.factor)]


def _not_comparable(found: MetaGrad, black_box: bool) -> str:
    """Return why there is no slope to compare, "" if there is one."""
    loss, grad = (bool(torch.isfinite(values).all()) for values in (found.loss, found.grad))
    if black_box and found.loss.isnan().all():
        return "withheld"
    if not (loss and grad):
        return "not finite" if black_box and loss else "diverged"
    return "" if found.grad.any() else "withheld"
