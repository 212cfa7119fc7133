"""What is not finite, zero or a saddle among theta, tasks and first estimates?"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from metabench.algorithms.base import MetaGrad
from metabench.estimation.inputs_not_finite import sets_not_finite
from metabench.estimation.vectorization import task_of
from metabench.probes.verify.measure_start import not_finite_at_start
from metabench.problems.tasks import Task
from metabench.records.rows import Row

if TYPE_CHECKING:
    from metabench.estimation.estimator_on_tasks import Subject


def not_finite(subject: Subject, tasks: Task, found: MetaGrad) -> list[Row]:
    """Return rows on what is not finite: theta's layers, tasks' tensors, losses, meta-gradients.

    Args:
        subject: what is measured.
        tasks: with a leading axis.
        found: the estimates of these tasks.
    """
    layout = subject.problem.layouts.theta
    rows = [
        Row("not_finite", of=f"theta: {name}", status="diverged")
        for name, part in layout.segments()
        if not torch.isfinite(subject.theta[part]).all()
    ]
    rows += [
        Row("not_finite", at=float(i), of=name, status="diverged")
        for i, name in sets_not_finite(tasks)
    ]
    lost = (~torch.isfinite(found.grad).all(1)).nonzero()[:, 0].tolist()
    share = len(lost) / len(found.grad)
    if lost and not rows:  # else the input explains it
        rows += not_finite_at_start(subject, task_of(tasks, lost[0]), lost[0])
    if lost:
        rows.append(Row("not_finite", of="meta-gradient", value=share, status="diverged"))
    return rows


def zero(grad: Tensor) -> Row | None:
    """Return a row if every meta-gradient is zero."""
    return None if grad.any() else Row("zero", of="meta-gradient", value=0.0, status="zero")


def saddle(found: MetaGrad) -> Row | None:
    """Return the least curvature that a linear solve met; 0 or less means no minimum."""
    if "curvature" not in found.notes:
        return None
    least = float(found.notes["curvature"].min())
    if not math.isfinite(least):  # nothing was solved, or what was solved isn't finite
        return None
    status = "ok" if least > 0 else "saddle"
    return Row("curvature", of="inner objective", value=least, status=status)
