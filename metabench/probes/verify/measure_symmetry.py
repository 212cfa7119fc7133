"""Is the Hessian of the inner loss symmetric, as products with it say?"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from metabench.autodiff import derivatives
from metabench.probes.verify.limits import (
    SYMMETRY,
)
from metabench.probes.verify.measure_precision import (
    Precision,
)
from metabench.probes.verify.measure_round_off import (
    above_round_off,
    check,
    spread_of,
    withheld,
)
from metabench.problems.tasks import Task
from metabench.records.rows import Row

if TYPE_CHECKING:
    from metabench.estimation.estimator_on_tasks import Subject


def symmetry(subject: Subject, tasks: Task, how: str, lowest: Precision) -> Row:
    """Compare <u, Hv> with <v, Hu> for the Hessian of the inner loss where adaptation starts.

    Args:
        subject: what is measured.
        tasks: with a leading axis.
        how: vmap or loop.
        lowest: the lowest precision of the model.
    """
    problem = subject.problem
    generator = torch.Generator().manual_seed(1)
    pair = torch.randn(2, problem.layouts.phi.size, generator=generator, dtype=torch.float64)
    u, v = pair.to(subject.theta)

    def products(theta: Tensor, task: Task) -> tuple[Tensor, Tensor]:
        phi = problem.init(theta)
        _, times = derivatives.gradient_with_products(problem.inner_loss, phi, theta, task.support)
        return u @ times(v)[0], v @ times(u)[0]

    per_task = replace(subject.compute, batching=how).per_task(products)
    try:
        one, other = per_task(subject.theta, tasks)
    except RuntimeError:  # no second derivative; an estimator that needs one was refused before
        return withheld(SYMMETRY)

    def spread() -> float:
        def compute(theta: Tensor) -> Tensor:
            products: Tensor = per_task(theta, tasks)[0]
            return products[:, None]

        found = spread_of(compute, subject.theta, one[:, None], lowest.unit)
        # u and v are rounded, too, which no move of theta shows where the Hessian is constant
        return max(found, lowest.unit)

    size = float(one.abs().sum())
    error = float((one - other).abs().sum())
    return above_round_off(check(SYMMETRY, error / size if size else error), spread)
