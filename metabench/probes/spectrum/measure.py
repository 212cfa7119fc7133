"""Take the spectra of many tasks at once, where the inner loop starts and where it ends."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from metabench.algorithms.adapt import adapt
from metabench.algorithms.base import Algorithm
from metabench.algorithms.inner_optimizers.inner_optimizer import Slots
from metabench.autodiff import derivatives
from metabench.autodiff.operation_counts import MOST_BYTES_AT_ONCE
from metabench.linalg.lanczos import Operator
from metabench.linalg.spectra import Effort, ExtremeEigenvalues, block, extreme_eigenvalues, spectra
from metabench.probes.base import Progress
from metabench.probes.spectrum import measure_expected_hessians as outer
from metabench.probes.spectrum import measure_implicit_system as implicit
from metabench.probes.spectrum.summary import summary
from metabench.probes.spectrum.task_spectra import Inside, MetaSpectra, TaskSpectra, joined
from metabench.problems.problem import Problem
from metabench.problems.random_signs import random_signs
from metabench.problems.tasks import Address, Task
from metabench.records.rows import Row
from metabench.stats.intervals import Vector

if TYPE_CHECKING:
    from metabench.estimation.estimator_on_tasks import Subject
    from metabench.probes.spectrum import Spectrum
    from metabench.problems.parameter_layout import Layout


class Loop(NamedTuple):
    """Where the inner loop of T tasks ended."""

    phi: Tensor  # (T, P)
    slots: Slots  # each (T, P)


def measure(probe: Spectrum, subject: Subject, seed: int, progress: Progress) -> list[Row]:
    """Measure the spectra of `probe.tasks` fresh tasks, a chunk at a time."""
    algorithm = subject.algorithm
    looped = algorithm if isinstance(algorithm, Algorithm) else None
    problem = looped.inner(subject.problem) if looped else subject.problem
    effort = Effort(probe.tolerance, probe.steps, probe.nodes, probe.exact)
    parts: dict[str, list[TaskSpectra]] = {}
    address, chunk = Address.fresh(0, probe.tasks), together(probe, subject)
    subject = replace(subject, compute=replace(subject.compute, chunk=chunk))
    for start in range(0, probe.tasks, chunk):
        part = address.part(start, start + chunk)
        tasks = subject.draw(part, seed)
        phi = problem.init(subject.theta).expand(len(part.task), -1)
        signs = random_signs(part, phi, seed, probe.vectors)

        def hessian(phi: Tensor, problem: Problem = problem, tasks: Task = tasks) -> Operator:
            return fleet(problem, phi, subject, tasks)

        places = {"start": _found(probe, effort, hessian(phi), signs, problem.layouts.phi)}
        if looped and looped.steps:
            end = _ended(subject, looped, part, seed, tasks)
            finite = torch.isfinite(end.phi).all(1)
            there = hessian(torch.where(finite[:, None], end.phi, 0))
            found = _found(probe, effort, there, signs, problem.layouts.phi)
            places["adapted"] = found.only(_numbers(finite))
            scale = _scale(looped, subject, end)
            if scale is not None:
                found = _scaled(there, torch.where(finite[:, None], scale, 0), signs, effort)
                places["preconditioned"] = found.only(_numbers(finite))
        for place, found in places.items():
            parts.setdefault(place, []).append(found)
        progress(min(start + chunk, probe.tasks), probe.tasks)
    ends = {place: joined(found) for place, found in parts.items()}
    rows = summary(probe, looped, ends)
    rates = looped.rates(subject.problem, subject.theta) if looped else None
    if rates is not None and bool((rates < 0).any()):
        why = "some learned inner rates are negative, and the edge takes them for 0; "
        why += "read the largest singular value of the adaptation map, which takes all as they are"
        rows.append(Row("unavailable", of=why, status="withheld"))

    def draw(vectors: int, count: int, size: int) -> Tensor:
        like = subject.theta.new_zeros(count, size)
        return random_signs(Address.fresh(0, count), like, seed, vectors)

    if looped and probe.meta:
        rows += outer.measure(probe, subject, draw, seed)
    if "adapted" in ends:
        rows += implicit.measure(probe, subject, seed, ends["adapted"])
    return rows


def together(probe: Spectrum, subject: Subject) -> int:
    """Take as many tasks together as their Lanczos vectors have room for."""
    P = subject.problem.layouts.phi.size
    vectors = max(probe.steps, probe.nodes, 4 * probe.vectors, min(P, probe.exact))
    held = vectors * P * subject.theta.element_size()
    return max(1, min(probe.tasks, subject.compute.chunk, MOST_BYTES_AT_ONCE // 2 // held))


def fleet(problem: Problem, phi: Tensor, subject: Subject, tasks: Task) -> Operator:
    """Give the products with the Hessians of all tasks' inner losses at phi `(T, P)`."""
    how = subject.compute.batching
    return derivatives.per_task_hvp(problem.inner_loss, phi, subject.theta, tasks.support, how)


def _scale(algorithm: Algorithm, subject: Subject, end: Loop) -> Tensor | None:
    """Give what multiplies the rate of each parameter `(T, P)`, if anything does."""
    scale = algorithm.inner_optimizer.preconditioner(end.slots, algorithm.steps)
    rates = algorithm.rates(subject.problem, subject.theta)
    if rates is None:
        return scale
    rates = (rates.clamp_min(0) / algorithm.inner_optimizer.rate).expand_as(end.phi)
    return rates if scale is None else rates * scale


def _ended(subject: Subject, algorithm: Algorithm, part: Address, seed: int, tasks: Task) -> Loop:
    """Give what the algorithm reports as phi_K, and its slots where they scale the step."""
    problem = algorithm.inner(subject.problem)
    phi = subject.meta_gradients(part, seed).phi
    if phi.shape[1] != problem.layouts.phi.size:  # it reports more than what adapts

        def end(theta: Tensor, task: Task) -> Tensor:
            return algorithm.adapted(subject.problem, theta, task)

        phi = subject.compute.per_task(end)(subject.theta, tasks)
    slots = algorithm.inner_optimizer.start(phi)
    if algorithm.inner_optimizer.preconditioner(slots, 1) is None:
        return Loop(phi, slots)

    def loop(theta: Tensor, task: Task) -> Loop:
        path = adapt(algorithm.inner_optimizer, algorithm.steps, problem, theta, task)
        return Loop(path.last, path.slots)

    last: Loop = subject.compute.per_task(loop)(subject.theta, tasks)
    return last


def _found(
    probe: Spectrum, effort: Effort, hessian: Operator, signs: Tensor, layout: Layout
) -> TaskSpectra:
    """Take the spectra of a chunk, and those of the blocks of its largest layers."""
    whole = spectra(hessian, signs, effort)
    layers = {}
    if probe.layers and len(layout.names) > 1:
        products = torch.stack([hessian(sign) for sign in signs])
        segments = dict(layout.segments())
        largest = sorted(segments, key=lambda name: segments[name].start - segments[name].stop)
        for name in (name for name in segments if name in largest[: probe.layers]):
            segment = segments[name]
            part = signs[:, :, segment]
            found = extreme_eigenvalues(block(hessian, segment, layout.size), part, effort)
            trace = (part * products[:, :, segment]).sum(2).mean(0)
            layers[name] = _outer(found), _numbers(trace)
    parts = whole.trace, whole.trace_error, whole.values, whole.weights
    inside = Inside(*map(_numbers, parts))
    return TaskSpectra(_outer(whole.ends), inside, whole.exact, layout.size, layers)


def _scaled(hessian: Operator, scale: Tensor, signs: Tensor, effort: Effort) -> TaskSpectra:
    """Find the ends of the Hessian scaled from both sides by the root of a diagonal `(T, P)`."""
    root = scale.sqrt()
    return TaskSpectra(
        _outer(extreme_eigenvalues(lambda v: root * hessian(root * v), signs, effort))
    )


def _outer(found: ExtremeEigenvalues) -> MetaSpectra:
    return MetaSpectra(*map(_numbers, found))


def _numbers(values: Tensor) -> Vector:
    result: Vector = values.detach().double().cpu().numpy()
    return result
