"""Look at the Hessians of some tasks: how large, how fast they change, how sets differ."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from torch import Tensor

from metabench.algorithms.adapt import NO_BACKWARD, adapt
from metabench.algorithms.inner_optimizers.sgd import SGD
from metabench.autodiff import derivatives
from metabench.estimation.vectorization import count_tasks
from metabench.linalg import hessian_lipschitz
from metabench.linalg.expected_spectrum import (
    ExpectedSpectrum,
    PerTaskProducts,
    spectrum_ends_of_mean,
)
from metabench.linalg.lanczos import Operator
from metabench.linalg.spectra import ExtremeEigenvalues, extreme_eigenvalues
from metabench.probes.constants.multi_set_estimates import pooled
from metabench.problems.problem import Problem
from metabench.problems.random_signs import random_signs
from metabench.problems.tasks import Address, Data, Task, tree_map
from metabench.stats.intervals import Vector

if TYPE_CHECKING:
    from metabench.probes.constants.setting import Setting

VECTORS = 4  # of a Frobenius norm
DIRECTIONS = 3  # in which the Hessian's change is looked for, besides that of the inner step


class Curved(NamedTuple):
    """What the Hessians of T tasks' expected inner losses are like; NaN where one isn't finite."""

    sizes: dict[str, Vector]  # |H| at the start, after one step, adapted, (T,)
    largest: Vector  # the largest eigenvalue at the start, (T,)
    along: Vector  # |H(phi_1) - H(w)| / |phi_1 - w|, 0 where nothing moves, (T,)
    local: Vector  # the same at w, in the worst direction found, (T,)
    converged: Vector  # 1 where two lengths of displacement agree on it, (T,)
    frobenius: Vector  # squared Frobenius norm of a set's error, unbiased; empty without redraws
    operator: Vector  # |H_a - H_b|^2 of two sets, empty without redraws


def curved(setting: Setting, tasks: Task, seed: int) -> Curved:
    """Look at the Hessians of the expected losses, means over each task's sets."""
    problem, theta = setting.sums, setting.theta
    count, w = count_tasks(tasks), problem.init(theta)
    W = w.expand(count, -1)
    address = Address.fresh(0, count)
    signs = random_signs(address, W, seed, 2 + DIRECTIONS)

    gradients = _slopes(setting, tasks)

    def hessian(points: Tensor, data: Data, of: Problem = problem) -> Operator:
        safe = torch.where(torch.isfinite(points).all(1)[:, None], points, 0)
        return derivatives.per_task_hvp(of.inner_loss, safe, theta, data, setting.compute.batching)

    def size(operator: Operator, known: ExtremeEigenvalues | None = None) -> Vector:
        found = known or extreme_eigenvalues(operator, signs[:2], setting.effort)
        larger = torch.maximum(found.smallest.abs(), found.largest.abs())
        return _numbers(torch.where(found.finite, larger, torch.nan))

    slopes = gradients(W)
    here = hessian(W, tasks.support)
    outer = extreme_eigenvalues(here, signs[:2], setting.effort)
    sizes = {"start": size(here, outer)}
    L = torch.from_numpy(sizes["start"]).to(W)
    most = float(L.nan_to_num().max())
    rate = setting.rate if setting.rate is not None else 1 / (6 * most) if most else 0.0
    phi = W - rate * slopes
    there = hessian(phi, tasks.support)
    sizes["one step"] = _where(phi, size(there))
    if setting.loop is not None and setting.steps and (setting.steps > 1 or setting.rate is None):
        end = _adapted(setting, tasks)
        sizes["adapted"] = _where(end, size(hessian(end, tasks.support)))
    moved = _numbers((phi - W).norm(dim=1))
    apart = size(lambda v: there(v) - here(v))
    along = _where(phi, np.where(moved > 0, apart / np.where(moved > 0, moved, 1), 0.0))
    scale = slopes.norm(dim=1) + L.nan_to_num() * w.norm()
    change = hessian_lipschitz.hessian_change(
        gradients, W, torch.stack([slopes, *signs[2:]]), scale
    )
    frobenius, operator = along[:0], along[:0]
    if setting.sets > 1:
        first, second = (hessian(W, data, setting.problem) for data in tasks.support[:2])

        def gap(v: Tensor) -> Tensor:
            return first(v) - second(v)

        frobenius = _numbers(
            hessian_lipschitz.frobenius(gap, random_signs(address, W, seed, VECTORS)) / 2
        )
        operator = size(gap) ** 2
    return Curved(
        sizes,
        _numbers(outer.largest),
        along,
        _numbers(change.rate),
        _numbers(change.converged),
        frobenius,
        operator,
    )


def meta_curvature(setting: Setting, tasks: Task, rate: float, seed: int) -> ExpectedSpectrum:
    """Bracket the ends of the spectrum of the Hessian of F, one inner step of this rate."""
    problem, theta, count = setting.sums, setting.theta, count_tasks(tasks)
    cuts = [0, count // 2, count] if count > 1 else [0, 1]
    halves = list(itertools.pairwise(cuts))

    def objective(at: Tensor, task: Task) -> Tensor:
        phi = adapt(SGD(rate), 1, problem, at, task, NO_BACKWARD).last
        return problem.outer_loss(phi, at, task.query)

    def fleet(start: int, stop: int) -> PerTaskProducts:
        part: Task = tree_map(lambda leaf: leaf[start:stop], tasks)
        points = theta.expand(stop - start, -1)
        operator = derivatives.per_task_hvp_of(objective, points, part, setting.compute.batching)
        return lambda vector: operator(vector.expand(stop - start, -1))

    signs = random_signs(Address.fresh(0, 1), theta[None], seed, 2)[:, 0]
    sizes = [stop - start for start, stop in halves]
    return spectrum_ends_of_mean([fleet(*half) for half in halves], sizes, signs, setting.effort)


def _slopes(setting: Setting, tasks: Task) -> Callable[[Tensor], Tensor]:
    """Give the gradients of the tasks' expected inner losses, each at its own point, `(T, P)`."""
    problem = setting.sums

    def slope(theta: Tensor, task: Task) -> Tensor:
        phi, data = task.support
        return derivatives.gradient(problem.inner_loss, phi, theta, data)

    run: Callable[[Tensor, Task], Tensor] = setting.compute.per_task(slope)
    return lambda points: run(setting.theta, Task((points, tasks.support), tasks.query))


def _adapted(setting: Setting, tasks: Task) -> Tensor:
    loop = setting.loop
    assert loop is not None
    problem = pooled(loop.problem)

    def end(theta: Tensor, task: Task) -> Tensor:
        return adapt(
            loop.inner_optimizer, setting.steps, problem, theta, task, NO_BACKWARD, loop.rates
        ).last

    found: Tensor = setting.compute.per_task(end)(setting.theta, tasks)
    return found


def _where(points: Tensor, values: Vector) -> Vector:
    """Put NaN where the point itself isn't finite."""
    finite = torch.isfinite(points).all(1)
    return _numbers(torch.where(finite, torch.from_numpy(values).to(points), torch.nan))


def _numbers(values: Tensor) -> Vector:
    result: Vector = values.detach().double().cpu().numpy()
    return result
