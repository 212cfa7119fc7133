"""Walk each task's path once, and sweep back from every K."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import torch

from metabench.algorithms.base import Algorithm
from metabench.estimation.estimator_on_tasks import Subject
from metabench.probes.base import Progress
from metabench.probes.explosion import features, growth, measure_multi_horizon_adjoint
from metabench.probes.explosion.growth import InnerWalk
from metabench.probes.explosion.measure_multi_horizon_adjoint import Sweep
from metabench.probes.explosion.mitigations import mitigations
from metabench.probes.explosion.paths import chunks, eagerly, loop_of, numpy, some, swept, walker
from metabench.probes.explosion.rates import rates
from metabench.probes.quantile_rows import quantile
from metabench.problems.problem import Problem
from metabench.problems.tasks import Address, Task, cast
from metabench.records.rows import Row
from metabench.stats.intervals import Vector

if TYPE_CHECKING:
    from metabench.probes.explosion import Explosion

DEPARTED = (0.01, 0.1)  # relative differences of two precisions that are told
SETTLED = 0.05, 0.1  # largest change by the last way: of the exponent, relative, or of log sigma


def measure(probe: Explosion, subject: Subject, seed: int, progress: Progress) -> list[Row]:
    """Measure the norms over K and, from the same tasks, exponents and stable rates."""
    algorithm = subject.algorithm
    if not isinstance(algorithm, Algorithm) or algorithm.loop(subject.problem) is None:
        return [Row("norm", status="withheld")]
    given, own = subject, algorithm.steps
    probe, subject = walker(probe, subject, algorithm)
    total, done = _cost(probe), 0

    def advance(count: int) -> None:
        nonlocal done
        done = min(done + count, total)
        progress(done, total)

    address = Address.fresh(0, probe.tasks)
    parts, errors, phis = [], [], []
    for tasks in chunks(probe, subject, address, seed):
        found = swept(subject, probe.plan, tasks)
        parts.append(_walk(found, probe.plan, subject.problem))
        phis.append(found.phis)
        advance(len(found.grads))
        if probe.precision:
            errors.append(_departure(subject, probe.plan, tasks, found))
            advance(len(found.grads))
        del found
    walk = _joined(parts)
    rows = growth.rows_of(walk, loop_of(subject).problem.layouts.phi.names)
    rows += features.rows_of(walk.drift, probe.plan)
    rows.append(Row("own_steps", value=float(own)))
    if errors:
        rows += _departures(np.concatenate(errors), probe.plan)
    if probe.directions and probe.steps:
        rows += _exponents(probe, subject, address, seed, advance)
    rows += rates(probe, subject, torch.cat(phis), seed, advance)
    if min(probe.mitigated, probe.steps) and loop_of(subject).rates is None:
        rows += mitigations(probe, given, algorithm, seed, advance)
    progress(total, total)
    return rows


def _cost(probe: Explosion) -> int:
    walks = 2 if probe.precision else 1
    exponents = probe.rounds * probe.directions > 0
    return (
        probe.tasks * walks
        + exponents * some(probe)
        + (6 + 7 * bool(probe.mitigated)) * probe.tasks
    )


def _walk(found: Sweep, at: tuple[int, ...], problem: Problem) -> InnerWalk:
    layout = problem.layouts.theta
    norms = measure_multi_horizon_adjoint.layer_norms(layout, found.grads)
    layers = {name: numpy(norms[..., i]) for i, name in enumerate(layout.names)}
    return InnerWalk(
        at=at,
        norms=numpy(measure_multi_horizon_adjoint.size(found.grads)),
        layers=layers if len(layers) > 1 else {},
        ends=numpy(found.ends),
        starts=numpy(found.starts),
        inner=numpy(found.inner),
        outer=numpy(found.outer),
        adjoint=numpy(found.adjoint),
        forward=found.forward.cpu().numpy(),
        backward=found.backward.cpu().numpy(),
        drift={name: numpy(moved) for name, moved in found.drift.items()},
    )


def _joined(parts: list[InnerWalk]) -> InnerWalk:
    layers = {name: np.concatenate([p.layers[name] for p in parts]) for name in parts[0].layers}
    drift = {name: np.concatenate([p.drift[name] for p in parts]) for name in parts[0].drift}
    rest = [np.concatenate(each) for each in zip(*(p[4:] for p in parts), strict=True)]
    return InnerWalk(parts[0].at, np.concatenate([p.norms for p in parts]), layers, drift, *rest)


def _departure(subject: Subject, at: tuple[int, ...], tasks: Task, found: Sweep) -> Vector:
    """Give the relative difference of each task's meta-gradient in float32 and float64, (T, n)."""
    single = subject.theta.dtype != torch.float64
    other = subject.at(subject.theta.to(torch.float64 if single else torch.float32))
    again = swept(other, at, cast(tasks, other.theta))
    exact, rough = (again, found) if single else (found, again)
    gap = measure_multi_horizon_adjoint.size(exact.grads - rough.grads.double())
    of = measure_multi_horizon_adjoint.size(exact.grads)
    return numpy(torch.where(gap == 0, 0.0, gap / of))


def _departures(errors: Vector, at: tuple[int, ...]) -> list[Row]:
    """Give the difference at each K, and the K from which it exceeds 1 % and 10 % in a task."""
    rows = [quantile("float32_error", errors[:, i], at=float(K)) for i, K in enumerate(at)]
    for limit in DEPARTED:
        beyond = ~(errors <= limit)
        first = np.where(beyond.any(1), np.array(at, float)[beyond.argmax(1)], math.inf)
        found = quantile("float32_departure", first, of=f"float32 by {100 * limit:.0f} %")
        rows.append(found if found.value is not None else found._replace(status="never_reached"))
    return rows


def _exponents(
    probe: Explosion,
    subject: Subject,
    address: Address,
    seed: int,
    advance: Callable[[int], None],
) -> list[Row]:
    """Give the leading finite-time exponents of a quarter of the tasks."""
    loop = loop_of(subject)
    P = loop.problem.layouts.phi.size
    count = min(probe.directions, P)
    generator = torch.Generator().manual_seed(0)
    start = torch.randn(count, P, generator=generator, dtype=torch.float64).to(subject.theta)
    run = eagerly(subject).per_task(
        lambda theta, task: measure_multi_horizon_adjoint.exponents(
            loop, probe.steps, theta, task, start, probe.rounds
        )
    )
    last, before = [], []
    for tasks in chunks(probe, subject, address.part(0, some(probe)), seed):
        found = run(subject.theta, tasks)
        last.append(numpy(found[0]))
        before.append(numpy(found[1]))
        advance(len(found[0]))
    values, moved = np.concatenate(last), np.abs(np.concatenate(last) - np.concatenate(before))
    rows = []
    for i in range(count):
        line = quantile("exponent", values[:, i], least=-math.inf, of=f"{i + 1}")
        allowed = np.maximum(SETTLED[0] * np.abs(values[:, i]), SETTLED[1] / probe.steps)
        loose = not np.mean(moved[:, i] <= allowed) > 0.5
        rows.append(
            line._replace(status="not_converged") if loose and line.value is not None else line
        )
    return rows
