"""Checks of a loss that samples, first and second order apart, from many sets of samples."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from metabench.algorithms.base import Algorithm
from metabench.autodiff import derivatives
from metabench.estimation.redraws import redraws
from metabench.estimation.vectorization import Vectorization
from metabench.probes.verify.limits import FIRST_ORDER, SCORE, SECOND_ORDER, SHIFT
from metabench.problems.sampling import Sampling, unbiased_loss
from metabench.problems.tasks import Address, Loss, Task
from metabench.records.rows import Row
from metabench.stats.mean_test import mean_is_zero, mean_squared
from metabench.stats.moments import Moments, mean_norm_interval

if TYPE_CHECKING:
    from metabench.estimation.estimator_on_tasks import Subject

LEVEL = 0.05  # at which a check is screened, and again confirmed on fresh sets
SETS = 100  # of samples, in each of the two
MOST_DIRECTIONS = 8  # of Hessians larger than this, random ones
FEW_DIRECTIONS, LARGE = 2, 1000  # of a network's Hessian, and the parameters from which it is one
TOGETHER = 20  # sets computed at once: their graphs are kept for every direction
BY = 1.0  # by which a baseline is raised, in units of the costs' root mean square
DISPLACEMENT = 1e-5  # relative, of a difference of gradients whose sample is fixed [1]
SAME = 1e-5  # relative difference up to which two Hessian products are one

Array = NDArray[np.float64]


class Found(NamedTuple):
    """Differences of each set that have mean zero in a right loss, `(n, D)` each."""

    score: Array
    first: Array  # gradient minus the unbiased one
    second: Array  # Hessian products minus the unbiased ones
    shift: Array  # change of Hessian products with the baseline
    gradient: Array  # the unbiased one
    hessian: Array  # products of the unbiased one
    fixed: Array  # Hessian products minus derivatives of the gradient of fixed samples
    sequences: Array  # sequences in the set

    def of(self, check: str) -> tuple[Array, Array]:
        """Return the differences of a check, and what they are relative to."""
        return {
            SCORE: (self.score, self.score),
            FIRST_ORDER: (self.first, self.gradient),
            SECOND_ORDER: (self.second, self.hessian),
            SHIFT: (self.shift, self.hessian),
        }[check]


def sampled_rows(subject: Subject, seed: int, tasks: int) -> list[Row]:
    """Return the rows of a loss that declares how it samples, or its expectation; none of others.

    Args:
        subject: whose inner loss is checked, in float64.
        seed: of the sets.
        tasks: number of tasks.
    """
    problem, subject = subject.problem, subject.at(subject.theta.double())
    known = problem.sampling or problem.expected_inner_loss
    if not (problem.sampled and known and isinstance(subject.algorithm, Algorithm)):
        return []
    shared = tasks if redraws(subject, seed)["support"] == "ok" else 0
    first, groups = _sets(subject, seed, shared, 0)
    fresh, _ = _sets(subject, seed, shared, 1)
    drawn, movable = problem.sampling, problem.sampling and problem.sampling.shifted
    checks = [*([SCORE] if drawn else []), FIRST_ORDER, SECOND_ORDER, *([SHIFT] if movable else [])]
    rows = [row for check in checks for row in _judged(check, first, fresh, groups, seed)]
    kinds = _kind(first, rows) if drawn else []
    return [*rows, *kinds, Row("sampled_sequences", value=float(first.sequences.sum() * 2))]


def _sets(subject: Subject, seed: int, tasks: int, stage: int) -> tuple[Found, NDArray[np.int64]]:
    """Compute the differences of many sets, and which of them are of one task.

    Args:
        subject: at a theta in float64.
        seed: of the sets.
        tasks: how many share the sets; 0: each set is a task's own.
        stage: 0 for screening, 1 for fresh sets.
    """
    numbers = np.arange(SETS, dtype=np.int64)
    address, groups = Address.fresh(stage * SETS, SETS), 0 * numbers
    if tasks:
        groups = numbers % tasks
        again = 1 + stage * SETS + numbers // tasks
        address = Address.fresh(0, SETS)._replace(task=groups, support=again)
    drawn = subject.draw(address, seed)
    how = "loop" if subject.compute.batching == "loop" else "vmap"
    found = Vectorization(how, engine="eager", chunk=TOGETHER).per_task(_differences_of(subject))
    parts = found(subject.theta, drawn)
    return Found(*(part.flatten(1).double().cpu().numpy() for part in parts)), groups


def _differences_of(subject: Subject) -> Callable[[Tensor, Task], tuple[Tensor, ...]]:
    """Return the differences of one set, in the order of `Found`, as a function of its task."""
    problem, sampling = subject.problem, subject.problem.sampling
    along = _directions(problem.layouts.phi.size, subject.theta)

    def products(loss: Loss, phi: Tensor, theta: Tensor, given: Any) -> tuple[Tensor, Tensor]:
        gradient, times = derivatives.gradient_with_products(loss, phi, theta, given)
        return gradient, torch.stack([times(v)[0] for v in along])

    def differences(theta: Tensor, task: Task) -> tuple[Tensor, ...]:
        phi, given = problem.init(theta), task.support
        loss, right = problem.inner_loss, problem.expected_inner_loss or problem.inner_loss
        if sampling:
            given = sampling.draw(phi.detach(), theta.detach(), given)
            loss, right = sampling.loss, unbiased_loss(sampling)
        gradient, hessian = products(loss, phi, theta, given)
        right_gradient, right_hessian = products(right, phi, theta, given)
        apart = gradient - right_gradient, hessian - right_hessian
        whole = right_gradient, right_hessian
        if sampling is None:
            zero = torch.zeros_like(hessian)
            return (gradient, *apart, zero, *whole, zero, gradient.new_ones(1))
        logs, costs = (f(phi, theta, given) for f in (sampling.log_probabilities, sampling.costs))
        score = derivatives.gradient(_total(sampling), phi, theta, given)
        shift = torch.zeros_like(hessian)
        if sampling.shifted:
            size = costs.detach().square().mean().sqrt()
            raised = sampling.shifted(given, BY * size)
            shift = products(sampling.loss, phi, theta, raised)[1] - hessian
        fixed = hessian - _derivative(sampling.loss, phi, theta, given, along)
        return (score, *apart, shift, *whole, fixed, gradient.new_full((1,), float(len(logs))))

    return differences


def _total(sampling: Sampling) -> Loss:
    """Return the mean log-probability of a sample's sequences as a function of phi."""
    return lambda phi, theta, sample: sampling.log_probabilities(phi, theta, sample).sum(-1).mean()


def _derivative(loss: Loss, phi: Tensor, theta: Tensor, sample: Any, along: Tensor) -> Tensor:
    """Compute directional derivatives of the gradient of a fixed sample by differences, `(m, P)`.

    Args:
        loss: of a sample.
        phi: parameters, `(P,)`.
        theta: meta-parameters, `(Q,)`.
        sample: drawn at phi.
        along: directions, `(m, P)`.
    """
    h = DISPLACEMENT * (1 + phi.detach().abs().max())

    def at(moved: Tensor) -> Tensor:
        return derivatives.gradient(loss, moved, theta, sample)

    return torch.stack([(at(phi + h * v) - at(phi - h * v)) / (2 * h) for v in along])


def _directions(size: int, like: Tensor) -> Tensor:
    """Return unit vectors, all of a small space and random ones of a larger, `(m, P)`."""
    if size <= MOST_DIRECTIONS:
        return torch.eye(size).to(like)
    count = MOST_DIRECTIONS if size < LARGE else FEW_DIRECTIONS
    drawn = np.random.default_rng(0).standard_normal((size, count))
    return torch.from_numpy(np.linalg.qr(drawn)[0].T.copy()).to(like)


def _judged(
    check: str, first: Found, fresh: Found, groups: NDArray[np.int64], seed: int
) -> list[Row]:
    """Return the p-value of a check, on fresh sets where it was screened, and the bias's bound."""
    (sample, whole), (again, _) = first.of(check), fresh.of(check)
    scale = float(np.abs(whole).max(initial=0.0))
    p, status = mean_is_zero(sample, groups, seed, scale), "not refuted"
    if p <= LEVEL:
        p = mean_is_zero(again, groups, seed + 1, scale)
        status = "biased" if p <= LEVEL else "not refuted"
    rows = [Row("sampled_check", of=check, value=p, status=status)]
    size = max(mean_squared(whole, groups), 0.0) ** 0.5
    if check == SCORE or size == 0:
        return rows
    both, twice = np.concatenate([sample, again]), np.tile(groups, 2)
    bias = max(mean_squared(both, twice), 0.0) ** 0.5 / size
    ends = [mean_norm_interval(Moments.from_samples(both[twice == g])) for g in np.unique(groups)]
    low, high = (float(np.mean(np.maximum(x, 0.0))) ** 0.5 / size for x in
                 ([end.low for end in ends], [end.high for end in ends]))  # fmt: skip
    return [*rows, Row("sampled_bias", of=check, value=bias, low=low, high=high)]


def _kind(found: Found, rows: list[Row]) -> list[Row]:
    """Return what a biased loss is, where that can be told."""
    biased = {row.of for row in rows if row.status == "biased"}
    kinds = []
    if FIRST_ORDER in biased:
        ratio = _multiple(found.first, found.gradient)
        kinds.append(Row("sampled_kind", of="same batch" if ratio else "batch or control"))
    elif SECOND_ORDER in biased:
        naive = np.abs(found.fixed).max() <= SAME * np.abs(found.hessian).max()
        other = "control" if SHIFT in biased else "lvc"
        kinds.append(Row("sampled_kind", of="naive" if naive else other))
    return kinds


def _multiple(difference: Array, whole: Array) -> float:
    """Return c where the difference is c times the whole in every set, 0 where it is not."""
    c = float((difference * whole).sum() / (whole * whole).sum())
    return c if np.abs(difference - c * whole).max() <= SAME * np.abs(whole).max() else 0.0
