r"""Smallest and largest eigenvalue of an expected operator, estimated from a sample of tasks.

The largest eigenvalue of the mean over sampled tasks overestimates that of the expectation, since
its eigenvector is fitted to the sample. The Rayleigh quotient of that vector on other tasks
underestimates it. The two bracket the true value.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from metabench.linalg.lanczos import Krylov, Ritz, converged, krylov
from metabench.linalg.spectra import Effort
from metabench.stats.intervals import Interval
from metabench.stats.mean_intervals import skewed_mean_interval

PerTaskProducts = Callable[[Tensor], Tensor]  # (Q,) -> (T, Q), a row per task

FEWEST_TASKS = 8  # below, half of them give no usable standard error


class ExpectedSpectrum(NamedTuple):
    """Extreme eigenvalues of E A, and whether Lanczos converged for the mean over tasks."""

    smallest: Interval
    largest: Interval
    converged: bool


def spectrum_ends_of_mean(
    halves: Sequence[PerTaskProducts], counts: Sequence[int], signs: Tensor, effort: Effort
) -> ExpectedSpectrum:
    """Estimate the smallest and largest eigenvalue of an expected operator with intervals.

    The value is that of the mean over all tasks. The inner limit is the Rayleigh quotient of each
    half's eigenvector on the other half, minus its error over tasks; the outer limit adds the error
    and the residual bound to the value. Both limits are infinite below 8 tasks.

    Args:
        halves: for either half of the tasks, the products of all its operators with one vector.
        counts: tasks in each half.
        signs: two start vectors of random signs, `(2, Q)`, whose results must agree.
        effort: tolerance and most products.

    Returns:
        The two eigenvalues with intervals.
    """
    first, second = (_leading(halves, counts, sign, effort) for sign in signs[:2])
    each = [
        _leading([half], [count], signs[0], effort)
        for half, count in zip(halves, counts, strict=True)
    ]
    crossed = list(zip(halves, each[::-1], strict=True))
    whole_space = _steps(first) >= signs.shape[1]
    found = []
    for end, sign in ((0, -1.0), (-1, 1.0)):
        values = [sign * float(krylov.ritz.values[0, end]) for krylov in (first, second)]
        best = first if values[0] >= values[1] else second
        inside = [_quotients(half, best.vector(end)[0]) for half in halves]
        outside = [_quotients(half, other.vector(end)[0]) for half, other in crossed]
        low = min(_signed_interval(outside, sign).low, max(values))
        spread = _signed_interval(inside, sign)
        bound = 0.0 if whole_space else float(best.ritz.bounds[0, end])
        high = max(values) + spread.high - spread.value + bound
        if sum(counts) < FEWEST_TASKS:
            low, high = -math.inf, math.inf
        found.append(Interval(sign * max(values), *sorted((sign * low, sign * high))))
    size = first.ritz.values.abs().max()
    gap = (first.ritz.values[0, [0, -1]] - second.ritz.values[0, [0, -1]]).abs().max()
    agree = bool(gap <= effort.tolerance * size)
    done = all(bool(converged(each.ritz, effort.tolerance)) for each in (first, second))
    return ExpectedSpectrum(found[0], found[1], whole_space or (done and agree))


def _leading(
    halves: Sequence[PerTaskProducts], counts: Sequence[int], start: Tensor, effort: Effort
) -> Krylov:
    """Run Lanczos on the mean operator of the given tasks."""

    def mean(vectors: Tensor) -> Tensor:
        sums = torch.stack([products(vectors[0]).sum(0) for products in halves])
        return (sums.sum(0) / sum(counts))[None]

    def enough(ritz: Ritz) -> bool:
        return bool(converged(ritz, effort.tolerance).all())

    return krylov(mean, start[None], effort.steps, enough)


def _signed_interval(parts: Sequence[Tensor], sign: float) -> Interval:
    return skewed_mean_interval((sign * torch.cat(list(parts))).double().cpu().numpy())


def _quotients(products: PerTaskProducts, vector: Tensor) -> Tensor:
    """Compute u^T A_i u of each task, `(T,)`, for the unit vector u."""
    return products(vector) @ vector


def _steps(found: Krylov) -> int:
    return int(found.ritz.values.shape[1])
