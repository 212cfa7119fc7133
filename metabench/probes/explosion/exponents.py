r"""Rows of finite-time Lyapunov exponents, with bounds of what the iteration may have missed.

The i-dimensional volume of the block grows from pass to pass by at most the product of the first i
singular values :math:`\Sigma_i`, and over m passes by at least :math:`c \Sigma_i^m`, where c is the
volume of the random start's projection on the leading subspace. Its square is a product of
independent Beta variables, whose quantiles bound c: no gap between singular values is assumed.
"""

from __future__ import annotations

import math

import numpy as np

from metabench.probes.quantile_rows import quantile
from metabench.records.rows import Row, row
from metabench.stats.intervals import Vector
from metabench.stats.quantile_intervals import quantile_interval

CONVERGED = 0.05, 0.1  # largest change in the last pass: of the exponent, relative; of log sigma
UNLUCKY = 0.005  # probability that the start is closer to orthogonal than is allowed for
ROUNDINGS = 100.0  # of the precision, that an exponent may be off by


def exponent_rows(passes: Vector, steps: int, parameters: int, eps: float) -> list[Row]:
    """Return the medians over tasks; their intervals include the error of the iteration.

    Args:
        passes: exponents after each pass, `(T, passes, d)`.
        steps: K.
        parameters: P, the length of the block's vectors.
        eps: relative precision of the passes.

    Returns:
        A row for each exponent; `not_converged` if in half of the tasks it still changes.
    """
    low, high = exponent_bounds(passes, steps, parameters, eps)
    last, moved = passes[:, -1], np.abs(passes[:, -1] - passes[:, -2])
    allowed = np.maximum(CONVERGED[0] * np.abs(last), CONVERGED[1] / steps)
    loose = ~((moved <= allowed).mean(0) > 0.5)
    rows = []
    for i in range(last.shape[1]):
        line = quantile("exponent", last[:, i], least=-math.inf, of=f"{i + 1}")
        if line.value is not None:
            ends = quantile_interval(last[:, i])._replace(
                low=quantile_interval(low[:, i]).low, high=quantile_interval(high[:, i]).high
            )
            line = row("exponent", ends, "not_converged" if loose[i] else "ok", of=line.of)
        rows.append(line)
    return rows


def exponent_bounds(
    passes: Vector, steps: int, parameters: int, eps: float
) -> tuple[Vector, Vector]:
    """Return lower and upper bounds of each task's exponents, `(T, d)` each; NaN becomes infinite.

    Args:
        passes: exponents after each pass, `(T, passes, d)`.
        steps: K.
        parameters: P.
        eps: relative precision of the passes.
    """
    _, count, d = passes.shape
    sums = np.cumsum(np.where(np.isnan(passes), math.inf, passes), axis=2)
    missed = np.array([_volume_missed(i, parameters) for i in range(1, d + 1)])
    with np.errstate(invalid="ignore"):
        least = sums[:, -1]
        most = np.maximum(sums.mean(1) + missed / (count * steps), least)
        none = np.zeros_like(least[:, :1])
        low = least - np.concatenate([none, most[:, :-1]], 1)
        high = most - np.concatenate([none, least[:, :-1]], 1)
    rounding = ROUNDINGS * eps * np.maximum(np.abs(passes[:, -1]), 1.0)
    low, high = (
        np.where(np.isnan(end), math.inf, end) for end in (low - rounding, high + rounding)
    )
    return low, np.minimum.accumulate(high, axis=1)  # exponents descend


def _volume_missed(i: int, parameters: int) -> float:
    """Return -log of the least volume of i random directions projected on i given ones."""
    from scipy.special import betaincinv

    if i >= parameters:
        return 0.0
    each = betaincinv(np.arange(1, i + 1) / 2, (parameters - i) / 2, UNLUCKY / i)
    return float(-np.log(each).sum() / 2)
