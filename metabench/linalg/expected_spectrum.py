r"""The largest and smallest eigenvalue of an expected operator, from those of a sample of tasks.

The largest eigenvalue of a mean over tasks is too large on average, for its eigenvector has been
fitted to the noise; what that vector gives on other tasks is too small, for it isn't quite the
right one. The two bracket the truth.
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

PerTaskProducts = Callable[[Tensor], Tensor]  # (Q,) -> (T, Q), a row a task

FEWEST = 8  # tasks: below, half of them have no spread to speak of


class ExpectedSpectrum(NamedTuple):
    """The ends of the spectrum of E A, and whether those of the mean over tasks are converged."""

    smallest: Interval
    largest: Interval
    converged: bool


def spectrum_ends_of_mean(
    halves: Sequence[PerTaskProducts], counts: Sequence[int], signs: Tensor, effort: Effort
) -> ExpectedSpectrum:
    """Bracket the ends of the spectrum of an expected operator.

    Value: that of the mean over all tasks. The inner limit is what the eigenvector of either half
    gives on the other half, less its error over tasks; the outer one adds the error and the
    residual bound to the value. Both are infinite below 8 tasks.

    Args:
        halves: the products of the tasks of either half with one vector.
        counts: tasks in each.
        signs: random signs to start from, `(2, Q)`; two starts must agree.
        effort: tolerance and most products.

    Returns:
        The two ends.
    """
    first, second = (_leading(halves, counts, sign, effort) for sign in signs[:2])
    each = [
        _leading([half], [count], signs[0], effort)
        for half, count in zip(halves, counts, strict=True)
    ]
    crossed = list(zip(halves, each[::-1], strict=True))
    wholly = _steps(first) >= signs.shape[1]
    found = []
    for end, sign in ((0, -1.0), (-1, 1.0)):
        values = [sign * float(krylov.ritz.values[0, end]) for krylov in (first, second)]
        best = first if values[0] >= values[1] else second
        inside = [_quotients(half, best.vector(end)[0]) for half in halves]
        outside = [_quotients(half, other.vector(end)[0]) for half, other in crossed]
        low = min(_interval(outside, sign).low, max(values))
        spread = _interval(inside, sign)
        bound = 0.0 if wholly else float(best.ritz.bounds[0, end])
        high = max(values) + spread.high - spread.value + bound
        if sum(counts) < FEWEST:
            low, high = -math.inf, math.inf
        found.append(Interval(sign * max(values), *sorted((sign * low, sign * high))))
    size = first.ritz.values.abs().max()
    gap = (first.ritz.values[0, [0, -1]] - second.ritz.values[0, [0, -1]]).abs().max()
    agree = bool(gap <= effort.tolerance * size)
    done = all(bool(converged(each.ritz, effort.tolerance)) for each in (first, second))
    return ExpectedSpectrum(found[0], found[1], wholly or (done and agree))


def _leading(
    fleets: Sequence[PerTaskProducts], counts: Sequence[int], start: Tensor, effort: Effort
) -> Krylov:
    def mean(vectors: Tensor) -> Tensor:
        sums = torch.stack([fleet(vectors[0]).sum(0) for fleet in fleets])
        return (sums.sum(0) / sum(counts))[None]

    def enough(ritz: Ritz) -> bool:
        return bool(converged(ritz, effort.tolerance).all())

    return krylov(mean, start[None], effort.steps, enough)


def _interval(parts: Sequence[Tensor], sign: float) -> Interval:
    return skewed_mean_interval((sign * torch.cat(list(parts))).double().cpu().numpy())


def _quotients(fleet: PerTaskProducts, vector: Tensor) -> Tensor:
    """Give u^T A_i u of each task, `(T,)`, for the unit vector u."""
    return fleet(vector) @ vector


def _steps(found: Krylov) -> int:
    return int(found.ritz.values.shape[1])
