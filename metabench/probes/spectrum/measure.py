"""Spectra of the inner Hessians of many tasks, at the start and the end of the inner loop."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from torch import Tensor

from metabench.algorithms.adapt import adapt
from metabench.algorithms.base import Algorithm
from metabench.algorithms.inner_optimizers.inner_optimizer import Slots
from metabench.autodiff import per_task_products
from metabench.autodiff.operation_counts import MOST_BYTES_AT_ONCE
from metabench.estimation.inputs_not_finite import inputs_not_finite
from metabench.linalg.lanczos import Operator
from metabench.linalg.spectra import Effort, ExtremeEigenvalues, block, extreme_eigenvalues, spectra
from metabench.probes.base import Progress
from metabench.probes.spectrum import measure_expected_hessians as expected
from metabench.probes.spectrum import measure_implicit_system as implicit
from metabench.probes.spectrum.summary import share, summary
from metabench.probes.spectrum.task_spectra import Densities, SpectrumEnds, TaskSpectra, concatenate
from metabench.problems.problem import Problem
from metabench.problems.random_signs import random_signs
from metabench.problems.tasks import Address, Task
from metabench.records.rows import Row
from metabench.stats.intervals import Vector

if TYPE_CHECKING:
    from metabench.estimation.estimator_on_tasks import Subject
    from metabench.probes.spectrum import Spectrum
    from metabench.problems.parameter_layout import Layout


class LoopEnd(NamedTuple):
    """Parameters and optimizer state of T tasks at the end of the inner loop."""

    phi: Tensor  # (T, P)
    slots: Slots  # each (T, P)


def measure(probe: Spectrum, subject: Subject, seed: int, progress: Progress) -> list[Row]:
    """Return the rows of the spectra of `probe.tasks` fresh tasks, measured in chunks.

    Args:
        probe: numbers of tasks, products and vectors, and the tolerance.
        subject: whose inner losses are measured.
        seed: of tasks and random vectors.
        progress: is called with the tasks done and all tasks.
    """
    algorithm = subject.algorithm
    looped = algorithm if isinstance(algorithm, Algorithm) else None
    problem = looped.inner(subject.problem) if looped else subject.problem
    effort = Effort(probe.tolerance, probe.steps, probe.nodes, probe.exact)
    parts: dict[str, list[TaskSpectra]] = {}
    rose: list[Vector] = []  # whether each task's inner loss is larger at the end, (T,) a chunk
    address, chunk = Address.fresh(0, probe.tasks), chunk_size(probe, subject)
    subject = replace(subject, compute=replace(subject.compute, chunk=chunk))
    for start in range(0, probe.tasks, chunk):
        part = address.part(start, start + chunk)
        tasks = subject.draw(part, seed)
        phi = problem.init(subject.theta).expand(len(part.task), -1)
        signs = random_signs(part, phi, seed, probe.vectors)

        def hessian(phi: Tensor, problem: Problem = problem, tasks: Task = tasks) -> Operator:
            return inner_hessians(problem, phi, subject, tasks)

        places = {"start": _spectra(probe, effort, hessian(phi), signs, problem.layouts.phi)}
        if looped and looped.steps:
            end = _loop_end(subject, looped, part, seed, tasks)
            finite = torch.isfinite(end.phi).all(1)
            there = hessian(torch.where(finite[:, None], end.phi, 0))
            found = _spectra(probe, effort, there, signs, problem.layouts.phi)
            places["adapted"] = found.where_finite(_float64(finite))
            rose.append(_loss_rose(problem, subject, tasks, (phi, end.phi)))
            scale = _scale(looped, subject, end)
            if scale is not None:
                found = _scaled_spectra(
                    there, torch.where(finite[:, None], scale, 0), signs, effort
                )
                places["preconditioned"] = found.where_finite(_float64(finite))
        for place, found in places.items():
            parts.setdefault(place, []).append(found)
        progress(min(start + chunk, probe.tasks), probe.tasks)
    spectra_at = {place: concatenate(found) for place, found in parts.items()}
    inputs = inputs_not_finite(subject, address, seed)
    bad = [row.at for row in inputs if row.of in ("support x", "support y", "support")]
    given = ~np.isin(address.task, np.array(bad, float))
    rows = [*summary(probe, looped, spectra_at, given), *inputs]
    if rose:
        rows.append(share("loss_rose", np.concatenate(rose) > 0, "adapted"))
    rows += _negative_rates(looped, subject)

    def draw(vectors: int, count: int, size: int) -> Tensor:
        like = subject.theta.new_zeros(count, size)
        return random_signs(Address.fresh(0, count), like, seed, vectors)

    if looped and probe.meta:
        rows += expected.measure(probe, subject, draw, seed)
    if "adapted" in spectra_at:
        rows += implicit.measure(probe, subject, seed, spectra_at["adapted"])
    return rows


def _negative_rates(algorithm: Algorithm | None, subject: Subject) -> list[Row]:
    """Return a row that says how negative learned rates are counted, if there are any."""
    rates = algorithm.rates(subject.problem, subject.theta) if algorithm else None
    if rates is None or not bool((rates < 0).any()):
        return []
    why = (
        "some learned inner rates are negative, and the edge of stability counts them as 0; read "
        "the largest singular value of the adaptation map, which uses all rates as they are"
    )
    return [Row("unavailable", of=why, status="withheld")]


def chunk_size(probe: Spectrum, subject: Subject) -> int:
    """Return how many tasks' Lanczos vectors fit into memory at once."""
    P = subject.problem.layouts.phi.size
    vectors = max(probe.steps, probe.nodes, 4 * probe.vectors, min(P, probe.exact))
    held = vectors * P * subject.theta.element_size()
    return max(1, min(probe.tasks, subject.compute.chunk, MOST_BYTES_AT_ONCE // 2 // held))


def inner_hessians(problem: Problem, phi: Tensor, subject: Subject, tasks: Task) -> Operator:
    """Return the product with the Hessian of every task's inner loss.

    Args:
        problem: with the inner loss.
        phi: a point of each task, `(T, P)`.
        subject: with theta and how tasks are batched.
        tasks: T tasks.
    """
    how = subject.compute.batching
    return per_task_products.per_task_hvp(
        problem.inner_loss, phi, subject.theta, tasks.support, how
    )


def _scale(algorithm: Algorithm, subject: Subject, end: LoopEnd) -> Tensor | None:
    """Return the factor of the inner rate for each parameter `(T, P)`, or None if all are 1."""
    scale = algorithm.inner_optimizer.preconditioner(end.slots, algorithm.steps)
    rates = algorithm.rates(subject.problem, subject.theta)
    if rates is None:
        return scale
    rates = (rates.clamp_min(0) / algorithm.inner_optimizer.rate).expand_as(end.phi)
    return rates if scale is None else rates * scale


def _loop_end(
    subject: Subject, algorithm: Algorithm, part: Address, seed: int, tasks: Task
) -> LoopEnd:
    """Return phi_K as the algorithm reports it, and the optimizer state where it scales steps."""
    problem = algorithm.inner(subject.problem)
    phi = subject.meta_gradients(part, seed).phi
    if phi.shape[1] != problem.layouts.phi.size:  # it reports more than what adapts

        def end(theta: Tensor, task: Task) -> Tensor:
            return algorithm.adapted(subject.problem, theta, task)

        phi = subject.compute.per_task(end)(subject.theta, tasks)
    slots = algorithm.inner_optimizer.start(phi)
    if algorithm.inner_optimizer.preconditioner(slots, 1) is None:
        return LoopEnd(phi, slots)

    def loop(theta: Tensor, task: Task) -> LoopEnd:
        iterates = adapt(algorithm.inner_optimizer, algorithm.steps, problem, theta, task)
        return LoopEnd(iterates.last, iterates.slots)

    last: LoopEnd = subject.compute.per_task(loop)(subject.theta, tasks)
    return last


def _loss_rose(
    problem: Problem, subject: Subject, tasks: Task, ends: tuple[Tensor, Tensor]
) -> Vector:
    """Return 1 for each task whose inner loss is larger, or not finite, at the loop's end.

    Args:
        problem: with the inner loss.
        subject: with theta and how tasks are batched.
        tasks: T tasks.
        ends: phi at the start and at the end, `(T, P)` each.
    """

    def losses(theta: Tensor, task: Task) -> Tensor:
        first, last, support = task.support
        return torch.stack([problem.inner_loss(phi, theta, support) for phi in (first, last)])

    both = tasks._replace(support=(*ends, tasks.support))
    found = subject.compute.per_task(losses)(subject.theta, both)
    return _float64(~(found[:, 1] <= found[:, 0]))


def _spectra(
    probe: Spectrum, effort: Effort, hessian: Operator, signs: Tensor, layout: Layout
) -> TaskSpectra:
    """Return the spectra of a chunk of tasks, and those of its largest layers' blocks."""
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
            layers[name] = _as_arrays(found), _float64(trace)
    parts = whole.trace, whole.trace_error, whole.values, whole.weights
    densities = Densities(*map(_float64, parts))
    return TaskSpectra(_as_arrays(whole.ends), densities, whole.exact, layout.size, layers)


def _scaled_spectra(hessian: Operator, scale: Tensor, signs: Tensor, effort: Effort) -> TaskSpectra:
    """Return the ends of D^1/2 H D^1/2, with `scale` the diagonal of D, `(T, P)`."""
    root = scale.sqrt()
    return TaskSpectra(
        _as_arrays(extreme_eigenvalues(lambda v: root * hessian(root * v), signs, effort))
    )


def _as_arrays(found: ExtremeEigenvalues) -> SpectrumEnds:
    return SpectrumEnds(*map(_float64, found))


def _float64(values: Tensor) -> Vector:
    result: Vector = values.detach().double().cpu().numpy()
    return result
