"""Unroll each task once and backpropagate from every K."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import torch

from metabench.algorithms.base import Algorithm
from metabench.estimation.estimator_on_tasks import Subject
from metabench.estimation.inputs_not_finite import inputs_not_finite
from metabench.probes.base import Progress
from metabench.probes.explosion import features, growth, measure_multi_horizon_adjoint
from metabench.probes.explosion.exponents import exponent_rows
from metabench.probes.explosion.growth import UnrollStatistics
from metabench.probes.explosion.measure_multi_horizon_adjoint import Sweep
from metabench.probes.explosion.mitigations import mitigation_rows
from metabench.probes.explosion.paths import (
    eager_vectorization,
    inner_loop_of,
    subset_size,
    sweep_tasks,
    task_chunks,
    to_numpy,
    with_all_steps,
)
from metabench.probes.explosion.rates import rate_rows
from metabench.probes.quantile_rows import quantile
from metabench.problems.problem import Problem
from metabench.problems.tasks import Address, Task, cast
from metabench.records.rows import Row
from metabench.stats.intervals import Vector

if TYPE_CHECKING:
    from metabench.probes.explosion import Explosion

DEPARTURES = (0.01, 0.1)  # relative differences of two precisions whose first K is reported


def measure(probe: Explosion, subject: Subject, seed: int, progress: Progress) -> list[Row]:
    """Measure norms over K and, on the same tasks, exponents, stable rates and mitigations.

    Args:
        probe: its settings.
        subject: what is measured: problem, tasks, algorithm and theta.
        seed: of the tasks.
        progress: called with the tasks done and the tasks in all.

    Returns:
        All rows of the probe; one row "norm", withheld, if there is no inner loop to unroll.
    """
    algorithm = subject.algorithm
    if not isinstance(algorithm, Algorithm) or algorithm.loop(subject.problem) is None:
        return [Row("norm", status="withheld")]
    given, own = subject, algorithm.steps
    probe, subject = with_all_steps(probe, subject, algorithm)
    total, done = _total_progress(probe), 0

    def advance(count: int) -> None:
        nonlocal done
        done = min(done + count, total)
        progress(done, total)

    address = Address.fresh(0, probe.tasks)
    parts, errors, phis = [], [], []
    for tasks in task_chunks(probe, subject, address, seed):
        found = sweep_tasks(subject, probe.plan, tasks)
        parts.append(_statistics_of(found, probe.plan, subject.problem))
        phis.append(found.phis)
        advance(len(found.grads))
        if probe.precision:
            errors.append(_float32_errors(subject, probe.plan, tasks, found))
            advance(len(found.grads))
        del found
    stats = _concatenated(parts)
    rows = growth.rows_of(stats, inner_loop_of(subject).problem.layouts.phi.names)
    rows += features.rows_of(stats.drift, probe.plan)
    rows += [Row("own_steps", value=float(own)), *_other_gradient(algorithm)]
    rows += inputs_not_finite(subject, address, seed)
    if errors:
        rows += _precision_rows(np.concatenate(errors), probe.plan)
    if probe.directions and probe.steps:
        rows += _exponent_rows(probe, subject, address, seed, advance)
    rows += rate_rows(probe, subject, torch.cat(phis), seed, advance)
    if min(probe.mitigated, probe.steps) and inner_loop_of(subject).rates is None:
        rows += mitigation_rows(probe, given, algorithm, seed, advance)
    progress(total, total)
    return rows


def _other_gradient(algorithm: Algorithm) -> list[Row]:
    """Return a row if the algorithm itself does not backpropagate through all inner steps."""
    if algorithm.implicit() is not None:
        return [Row("other_gradient", of="by implicit differentiation", status="info")]
    return [] if algorithm.exact else [Row("other_gradient", of="approximately", status="info")]


def _total_progress(probe: Explosion) -> int:
    passes = 2 if probe.precision else 1
    exponents = probe.rounds * probe.directions > 0
    return (
        probe.tasks * passes
        + exponents * subset_size(probe)
        + (6 + 7 * bool(probe.mitigated)) * probe.tasks
    )


def _statistics_of(found: Sweep, at: tuple[int, ...], problem: Problem) -> UnrollStatistics:
    layout = problem.layouts.theta
    norms = measure_multi_horizon_adjoint.layer_norms(layout, found.grads)
    layers = {name: to_numpy(norms[..., i]) for i, name in enumerate(layout.names)}
    return UnrollStatistics(
        at=at,
        norms=to_numpy(measure_multi_horizon_adjoint.norm(found.grads)),
        layers=layers if len(layers) > 1 else {},
        ends=to_numpy(found.ends),
        starts=to_numpy(found.starts),
        inner=to_numpy(found.inner),
        outer=to_numpy(found.outer),
        adjoint=to_numpy(found.adjoint),
        forward=found.forward.cpu().numpy(),
        backward=found.backward.cpu().numpy(),
        drift={name: to_numpy(moved) for name, moved in found.drift.items()},
    )


def _concatenated(parts: list[UnrollStatistics]) -> UnrollStatistics:
    layers = {name: np.concatenate([p.layers[name] for p in parts]) for name in parts[0].layers}
    drift = {name: np.concatenate([p.drift[name] for p in parts]) for name in parts[0].drift}
    rest = [np.concatenate(each) for each in zip(*(p[4:] for p in parts), strict=True)]
    return UnrollStatistics(
        parts[0].at, np.concatenate([p.norms for p in parts]), layers, drift, *rest
    )


def _float32_errors(subject: Subject, at: tuple[int, ...], tasks: Task, found: Sweep) -> Vector:
    """Return the relative difference of float32 and float64 meta-gradients, `(T, n)`."""
    single = subject.theta.dtype != torch.float64
    other = subject.at(subject.theta.to(torch.float64 if single else torch.float32))
    repeated = sweep_tasks(other, at, cast(tasks, other.theta))
    exact, rough = (repeated, found) if single else (found, repeated)
    gap = measure_multi_horizon_adjoint.norm(exact.grads - rough.grads.double())
    of = measure_multi_horizon_adjoint.norm(exact.grads)
    return to_numpy(torch.where(gap == 0, 0.0, gap / of))


def _precision_rows(errors: Vector, at: tuple[int, ...]) -> list[Row]:
    """Return the median difference at each K, and the median K where it first exceeds 1 %, 10 %."""
    rows = [quantile("float32_error", errors[:, i], at=float(K)) for i, K in enumerate(at)]
    for limit in DEPARTURES:
        beyond = ~(errors <= limit)
        first = np.where(beyond.any(1), np.array(at, float)[beyond.argmax(1)], math.inf)
        found = quantile("float32_departure", first, of=f"float32 by {100 * limit:.0f} %")
        rows.append(found if found.value is not None else found._replace(status="never_reached"))
    return rows


def _exponent_rows(
    probe: Explosion,
    subject: Subject,
    address: Address,
    seed: int,
    advance: Callable[[int], None],
) -> list[Row]:
    """Return the leading finite-time Lyapunov exponents on a quarter of the tasks."""
    loop = inner_loop_of(subject)
    P = loop.problem.layouts.phi.size
    count = min(probe.directions, P)
    generator = torch.Generator().manual_seed(0)
    start = torch.randn(count, P, generator=generator, dtype=torch.float64).to(subject.theta)
    run = eager_vectorization(subject).per_task(
        lambda theta, task: measure_multi_horizon_adjoint.lyapunov_exponents(
            loop, probe.steps, theta, task, start, probe.rounds
        )
    )
    passes = []
    for tasks in task_chunks(probe, subject, address.part(0, subset_size(probe)), seed):
        passes.append(to_numpy(run(subject.theta, tasks)))
        advance(len(passes[-1]))
    eps = torch.finfo(start.dtype).eps
    return exponent_rows(np.concatenate(passes), probe.steps, P, eps)
