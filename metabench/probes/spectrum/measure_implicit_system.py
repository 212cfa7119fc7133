"""Convergence of CG on each task's implicit linear system, with its bound from the spectrum."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from metabench.algorithms.base import Algorithm
from metabench.autodiff import derivatives
from metabench.linalg.solvers.cg import CG
from metabench.probes.spectrum.task_spectra import TaskSpectra
from metabench.problems.tasks import Address, Task
from metabench.records.rows import Row, row
from metabench.stats.quantile_intervals import quantile_interval

if TYPE_CHECKING:
    from metabench.estimation.estimator_on_tasks import Subject
    from metabench.probes.spectrum import Spectrum


def measure(probe: Spectrum, subject: Subject, seed: int, found: TaskSpectra) -> list[Row]:
    r"""Return rows of the median relative residual at each CG step, and of its bound.

    The bound is :math:`2 \sqrt\kappa ((\sqrt\kappa - 1) / (\sqrt\kappa + 1))^s` after s steps,
    kappa the condition number of the inner objective's Hessian at phi_K (Saad, 2003,
    https://doi.org/10.1137/1.9780898718003, section 6.11).

    Args:
        probe: its number of tasks.
        subject: whose algorithm solves by CG; otherwise there are no rows.
        seed: of the tasks.
        found: the spectra at phi_K of the same tasks.
    """
    algorithm = subject.algorithm
    given = algorithm.implicit()
    if not isinstance(algorithm, Algorithm) or given is None or not isinstance(given.solver, CG):
        return []
    solver = given.solver
    problem = algorithm.inner(subject.problem)

    def solve(theta: Tensor, task: Task) -> Tensor:
        phi = algorithm.adapted(subject.problem, theta, task)
        _, in_phi, _ = derivatives.value_and_gradients(problem.outer_loss, phi, theta, task.query)
        _, products = derivatives.gradient_with_products(
            problem.inner_loss, phi, theta, task.support
        )
        return solver(lambda v: products(v)[0], in_phi).history

    tasks = subject.draw(Address.fresh(0, probe.tasks), seed)
    history: Tensor = subject.compute.per_task(solve)(subject.theta, tasks)
    steps = torch.arange(history.shape[1]).double().numpy()
    measured = history.double().cpu().numpy()
    lowest = found.ends.smallest - found.ends.slack
    highest = found.ends.largest + found.ends.slack
    definite = (found.ends.finite == 1) & (lowest > 0)
    with np.errstate(divide="ignore", invalid="ignore"):
        root = np.sqrt(np.where(definite, highest / lowest, np.inf))
        factor = np.where(definite, (root - 1) / (root + 1), 1.0)
        bound = np.where(definite, 2 * root, np.inf)[:, None] * factor[:, None] ** steps
    rows = []
    for of, values in (("measured", measured), ("bound", np.minimum(bound, 1.0))):
        for step in range(len(steps)):
            column = np.nan_to_num(values[:, step], nan=np.inf, posinf=np.inf)
            interval = quantile_interval(column, 0.5)
            status = "ok" if np.isfinite(interval.value) else "diverged"
            rows.append(row("cg_residual", interval, status, of=of, at=float(step)))
    last = [r for r in rows if r.at == steps[-1]]
    return [*rows, *(r._replace(quantity="residual", at=None) for r in last)]
