"""Estimates of Hessians: their norm, their rate of change, and their variance over sets."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from torch import Tensor

from metabench.algorithms.adapt import NO_BACKWARD, adapt
from metabench.algorithms.inner_optimizers.sgd import SGD
from metabench.autodiff import derivatives, per_task_products
from metabench.estimation.vectorization import count_tasks
from metabench.linalg import hessian_lipschitz
from metabench.linalg.expected_spectrum import (
    ExpectedSpectrum,
    PerTaskProducts,
    spectrum_ends_of_mean,
)
from metabench.linalg.lanczos import Operator
from metabench.linalg.spectra import ExtremeEigenvalues, extreme_eigenvalues
from metabench.probes.constants.multi_set_estimates import averaged_over_sets
from metabench.problems.problem import Problem
from metabench.problems.random_signs import random_signs
from metabench.problems.tasks import Address, Data, Task, tree_map
from metabench.stats.intervals import Vector

if TYPE_CHECKING:
    from metabench.probes.constants.setting import Setting

VECTORS = 4  # of a Frobenius norm
DIRECTIONS = 3  # random ones in which the Hessian's change is measured, besides the inner step's


class HessianEstimates(NamedTuple):
    """Estimates from the Hessians of T tasks' expected inner losses; NaN where one isn't finite."""

    sizes: dict[str, Vector]  # |H| at the start, after one step, adapted, (T,)
    largest: Vector  # the largest eigenvalue at the start, (T,)
    along: Vector  # |H(phi_1) - H(w)| / |phi_1 - w|, 0 where nothing moves, (T,)
    local: Vector  # the same at w, in the worst direction found, (T,)
    smooth: Vector  # 1 where two lengths of displacement agree on it, (T,)
    frobenius: Vector  # squared Frobenius norm of a set's error, unbiased; empty without redraws
    operator: Vector  # |H_a - H_b|^2 of two sets, empty without redraws


def estimate_hessians(setting: Setting, tasks: Task, seed: int) -> HessianEstimates:
    """Return estimates from the Hessians of the tasks' losses, averaged over each task's sets.

    Args:
        setting: the problem.
        tasks: T tasks with several sets.
        seed: of random vectors.
    """
    problem, theta = setting.sums, setting.theta
    count, w = count_tasks(tasks), problem.init(theta)
    W = w.expand(count, -1)
    address = Address.fresh(0, count)
    signs = random_signs(address, W, seed, 2 + DIRECTIONS)

    gradients = _inner_gradients(setting, tasks)

    def hessian(points: Tensor, data: Data, of: Problem = problem) -> Operator:
        safe = torch.where(torch.isfinite(points).all(1)[:, None], points, 0)
        return per_task_products.per_task_hvp(
            of.inner_loss, safe, theta, data, setting.compute.batching
        )

    def size(operator: Operator, known: ExtremeEigenvalues | None = None) -> Vector:
        found = known or extreme_eigenvalues(operator, signs[:2], setting.effort)
        larger = torch.maximum(found.smallest.abs(), found.largest.abs())
        return _float64(torch.where(found.finite, larger, torch.nan))

    start_gradients = gradients(W)
    here = hessian(W, tasks.support)
    outer = extreme_eigenvalues(here, signs[:2], setting.effort)
    sizes = {"start": size(here, outer)}
    L = torch.from_numpy(sizes["start"]).to(W)
    most = float(L.nan_to_num().max())
    rate = setting.rate if setting.rate is not None else 1 / (6 * most) if most else 0.0
    phi = W - rate * start_gradients
    there = hessian(phi, tasks.support)
    sizes["one step"] = _nan_where_lost(phi, size(there))
    if setting.loop is not None and setting.steps and (setting.steps > 1 or setting.rate is None):
        end = _adapted(setting, tasks)
        sizes["adapted"] = _nan_where_lost(end, size(hessian(end, tasks.support)))
    moved = _float64((phi - W).norm(dim=1))
    apart = size(lambda v: there(v) - here(v))
    along = _nan_where_lost(phi, np.where(moved > 0, apart / np.where(moved > 0, moved, 1), 0.0))
    scale = start_gradients.norm(dim=1) + L.nan_to_num() * w.norm()
    change = hessian_lipschitz.hessian_change(
        gradients, W, torch.stack([start_gradients, *signs[2:]]), scale
    )
    frobenius, operator = along[:0], along[:0]
    if setting.sets > 1:
        first, second = (hessian(W, data, setting.problem) for data in tasks.support[:2])

        def gap(v: Tensor) -> Tensor:
            return first(v) - second(v)

        frobenius = _float64(
            hessian_lipschitz.frobenius(gap, random_signs(address, W, seed, VECTORS)) / 2
        )
        operator = size(gap) ** 2
    return HessianEstimates(
        sizes,
        _float64(outer.largest),
        along,
        _float64(change.rate),
        _float64(change.converged),
        frobenius,
        operator,
    )


def meta_hessian_spectrum(
    setting: Setting, tasks: Task, rate: float, seed: int
) -> ExpectedSpectrum:
    """Return the extreme eigenvalues of the Hessian of F, for one inner step.

    Args:
        setting: the problem.
        tasks: T tasks with several sets.
        rate: the inner rate.
        seed: of random vectors.
    """
    problem, theta, count = setting.sums, setting.theta, count_tasks(tasks)
    cuts = [0, count // 2, count] if count > 1 else [0, 1]
    halves = list(itertools.pairwise(cuts))

    def objective(at: Tensor, task: Task) -> Tensor:
        phi = adapt(SGD(rate), 1, problem, at, task, NO_BACKWARD).last
        return problem.outer_loss(phi, at, task.query)

    def products(start: int, stop: int) -> PerTaskProducts:
        part: Task = tree_map(lambda leaf: leaf[start:stop], tasks)
        points = theta.expand(stop - start, -1)
        operator = per_task_products.per_task_hvp_of(
            objective, points, part, setting.compute.batching
        )
        return lambda vector: operator(vector.expand(stop - start, -1))

    signs = random_signs(Address.fresh(0, 1), theta[None], seed, 2)[:, 0]
    sizes = [stop - start for start, stop in halves]
    return spectrum_ends_of_mean([products(*half) for half in halves], sizes, signs, setting.effort)


def _inner_gradients(setting: Setting, tasks: Task) -> Callable[[Tensor], Tensor]:
    """Return a function from one point a task to the gradients of their inner losses, `(T, P)`."""
    problem = setting.sums

    def inner_gradient(theta: Tensor, task: Task) -> Tensor:
        phi, data = task.support
        return derivatives.gradient(problem.inner_loss, phi, theta, data)

    run: Callable[[Tensor, Task], Tensor] = setting.compute.per_task(inner_gradient)
    return lambda points: run(setting.theta, Task((points, tasks.support), tasks.query))


def _adapted(setting: Setting, tasks: Task) -> Tensor:
    loop = setting.loop
    assert loop is not None
    problem = averaged_over_sets(loop.problem)

    def end(theta: Tensor, task: Task) -> Tensor:
        return adapt(
            loop.inner_optimizer, setting.steps, problem, theta, task, NO_BACKWARD, loop.rates
        ).last

    found: Tensor = setting.compute.per_task(end)(setting.theta, tasks)
    return found


def _nan_where_lost(points: Tensor, values: Vector) -> Vector:
    """Return the values, NaN where the point isn't finite."""
    finite = torch.isfinite(points).all(1)
    return _float64(torch.where(finite, torch.from_numpy(values).to(points), torch.nan))


def _float64(values: Tensor) -> Vector:
    result: Vector = values.detach().double().cpu().numpy()
    return result
