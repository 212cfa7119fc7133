"""Spectra of expected Hessians over tasks, and singular values of d phi_K / d theta."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from metabench.algorithms.base import Algorithm
from metabench.autodiff import per_task_products
from metabench.autodiff.operation_counts import work_of
from metabench.estimation.unfused_problem import unfused_problem
from metabench.estimation.vectorization import first_task
from metabench.linalg.expected_spectrum import (
    ExpectedSpectrum,
    PerTaskProducts,
    spectrum_ends_of_mean,
)
from metabench.linalg.lanczos import Operator
from metabench.linalg.spectra import Effort, extreme_eigenvalues
from metabench.linalg.trace import xtrace
from metabench.probes.spectrum.summary import LEVELS
from metabench.problems.problem import Problem
from metabench.problems.tasks import Address, Task, tree_map
from metabench.records.rows import Row, row
from metabench.stats.intervals import Interval
from metabench.stats.mean_intervals import skewed_mean_interval
from metabench.stats.quantile_intervals import quantile_interval

if TYPE_CHECKING:
    from metabench.estimation.estimator_on_tasks import Subject
    from metabench.probes.spectrum import Spectrum

BUDGET = 1e12  # operations of all tasks' meta-Hessian products: seconds to a minute on a CPU
META_GRADIENTS = 300  # that cost about as much as one task's spectrum
FEWEST_TASKS = 8  # measured even beyond the budget
OUTER_EDGE = 2.0  # of plain gradient descent
TRACE_VECTORS = 4  # of a task

Signs = Callable[[int, int, int], Tensor]  # (s, T, Q) -> random signs of that shape


def measure(probe: Spectrum, subject: Subject, signs: Signs, seed: int) -> list[Row]:
    """Return the rows of the expected inner Hessian, the meta-Hessian and the adaptation map.

    Args:
        probe: its settings; at most `meta` tasks are used.
        subject: with one of metabench's algorithms; otherwise there are no rows.
        signs: draws random signs.
        seed: of the tasks.
    """
    algorithm, theta = subject.algorithm, subject.theta
    if not isinstance(algorithm, Algorithm):
        return []
    tasks = subject.draw(Address.fresh(0, 1), seed)
    work = work_of(algorithm, subject.problem, theta, first_task(tasks))
    afford = int(BUDGET / (META_GRADIENTS * max(work.flops, 1)))
    count = min(probe.meta, probe.tasks, max(FEWEST_TASKS, afford))
    tasks = subject.draw(Address.fresh(0, count), seed)
    effort = Effort(probe.tolerance, probe.steps, 0, probe.exact)
    how = subject.compute.batching
    inner = algorithm.inner(subject.problem)

    def inner_loss(phi: Tensor, task: Task) -> Tensor:
        return inner.inner_loss(phi, theta, task.support)

    rows = [Row("meta_tasks", value=float(count))]
    rows += _expected(inner_loss, inner.init(theta), tasks, how, signs, effort, "mean")
    plain = unfused_problem(subject, algorithm)
    if plain is None:
        why = "the meta-Hessian and the adaptation map need third derivatives, which torch gets "
        why += "wrong in fused norm layers; replace them: net = metabench.safe_norms(net)"
        return [*rows, Row("unavailable", of=why, status="withheld")]

    def objective(at: Tensor, task: Task) -> Tensor:
        return algorithm.objective(plain, at, task)

    rows += _expected(objective, theta, tasks, how, signs, effort, "meta")
    rows += outer_rate_rows(rows, probe.outer_rate)
    return [*rows, *_map(algorithm, plain, theta, tasks, how, signs(2, count, len(theta)), effort)]


def _expected(
    value: Callable[[Tensor, Any], Tensor],
    point: Tensor,
    tasks: Task,
    how: str,
    signs: Signs,
    effort: Effort,
    of: str,
) -> list[Row]:
    """Return the extreme eigenvalues and the trace of a Hessian's mean over tasks at one point."""
    count = len(_first_leaf(tasks))
    cuts = [0, count // 2, count] if count > 1 else [0, 1]
    halves = list(itertools.pairwise(cuts))
    operators = [
        per_task_products.per_task_hvp_of(
            value,
            point.expand(stop - start, -1),
            tree_map(lambda leaf, a=start, b=stop: leaf[a:b], tasks),
            how,
        )
        for start, stop in halves
    ]
    sizes, starts = [stop - start for start, stop in halves], signs(2, 1, len(point))[:, 0]
    if not all(_finite(op, n, starts) for op, n in zip(operators, sizes, strict=True)):
        names = ("largest_eigenvalue", "smallest_eigenvalue", "trace")
        return [Row(name, of=of, status="diverged") for name in names]
    products = [_on_shared_vector(op, n) for op, n in zip(operators, sizes, strict=True)]
    found: ExpectedSpectrum = spectrum_ends_of_mean(products, sizes, starts, effort)
    rows = [
        row("largest_eigenvalue", found.largest, of=of),
        row("smallest_eigenvalue", found.smallest, of=of),
    ]
    # each task has different signs: errors of shared ones would not average out over tasks
    vectors = signs(TRACE_VECTORS, count, len(point))
    by_half = [vectors[:, start:stop] for start, stop in halves]
    traces = [xtrace(op, part).value for op, part in zip(operators, by_half, strict=True)]
    each = torch.cat(traces).double().cpu().numpy()
    rows.append(row("trace", skewed_mean_interval(each), of=of))
    if not found.converged:
        rows.append(Row("not_converged", of=of, value=1.0))
    return rows


def _finite(operator: Operator, count: int, starts: Tensor) -> bool:
    product = operator(starts[0].expand(count, -1))
    most = torch.finfo(product.dtype).max ** 0.5 / product.shape[1]
    return bool((product.abs() < most).all())


def _on_shared_vector(operator: Operator, count: int) -> PerTaskProducts:
    return lambda vector: operator(vector.expand(count, -1))


def outer_rate_rows(rows: list[Row], rate: float) -> list[Row]:
    """Return the outer rate up to which plain gradient descent on the expected loss is stable."""
    (top,) = [r for r in rows if r.quantity == "largest_eigenvalue" and r.of == "meta"]
    if top.value is None:
        return []
    ends = (top.value, top.high, top.low)
    value, low, high = (math.inf if x is None or x <= 0 else OUTER_EDGE / x for x in ends)
    low = low if top.high is not None else 0.0
    status = "ok" if math.isfinite(value) else "unbounded"
    made = [row("stable_outer_rate", Interval(value, low, high), status)]
    return [Row("outer_rate", value=rate), *made] if rate else made


def _map(
    algorithm: Algorithm,
    problem: Problem,
    theta: Tensor,
    tasks: Task,
    how: str,
    signs: Tensor,
    effort: Effort,
) -> list[Row]:
    """Return quantiles over tasks of the largest singular value of d phi_K / d theta."""

    def adapted(at: Tensor, task: Task) -> Tensor:
        return algorithm.adapted(problem, at, task)

    points = theta.expand(signs.shape[1], -1)
    jvp, vjp = per_task_products.per_task_jacobian_products(adapted, points, tasks, how)
    found = extreme_eigenvalues(lambda v: vjp(jvp(v)), signs, effort)
    if not bool(found.finite.all()):
        return [Row("largest_singular_value", of="map", status="diverged")]
    top = found.largest.clamp_min(0).double().cpu().numpy()
    slack = found.slack.double().cpu().numpy()
    rows = []
    for level in LEVELS:
        interval = quantile_interval(np.sqrt(top), level)
        high = quantile_interval(np.sqrt(top + slack), level).high
        rows.append(row("largest_singular_value", interval._replace(high=high), of="map", at=level))
    return rows


def _first_leaf(tasks: Task) -> Tensor:
    leaves: list[Tensor] = []
    tree_map(leaves.append, tasks.query)
    return leaves[0]
