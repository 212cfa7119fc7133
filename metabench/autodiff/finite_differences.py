"""Slopes by finite differences that know when they can't be trusted: the truth without derivatives.

On a ReLU network a step of 1e-4 is off by tens where one of 1e-6 is right to 1e-8, and no step is
right at a kink. So a slope counts only where two adjacent steps agree, and the slopes of the two
sides come closer as the step shrinks.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

STEPS = (1e-5, 1e-6, 1e-7, 1e-8)  # in float64, along a unit vector
AGREE = 1e-5  # two adjacent steps are one value up to this share of `scale`
KINK = 1e-4  # sides that differ by more than this share of `scale` at every step are a kink


def directional_derivatives(
    function: Callable[[Tensor], Tensor], at: Tensor, along: Tensor, scale: Tensor
) -> Tensor:
    """Give the central slopes of T numbers along a unit vector, `(T,)`, NaN where none settles.

    Args:
        function: `(Q,) -> (T,)`, in float64.
        at: where, `(Q,)`.
        along: a unit vector, `(Q,)`.
        scale: the size of slope that is expected of each number, `(T,)`.

    Returns:
        Slopes whose error is of the order of 1e-6 of `scale`.

    >>> at, along = torch.zeros(2).double(), torch.tensor([1.0, 0.0]).double()
    >>> both = lambda x: torch.stack([(x[0] + 1) ** 3, x[0].relu()])
    >>> directional_derivatives(both, at, along, torch.ones(2)).round(decimals=6)
    tensor([3., nan], dtype=torch.float64)
    """
    here = function(at)
    converged = torch.full_like(here, torch.nan)
    before = before_gap = here * torch.nan  # agrees with nothing
    for h in STEPS:
        ahead, behind = function(at + h * along), function(at - h * along)
        slope = (ahead - behind) / (2 * h)
        gap = ((ahead - here) / h - (here - behind) / h).abs()
        kink = (gap > 0.5 * before_gap) & (gap > KINK * scale)
        agree = ((slope - before).abs() <= AGREE * scale) & ~kink
        converged = torch.where(converged.isnan() & agree, slope, converged)
        if not converged.isnan().any():
            break
        before, before_gap = slope, gap
    return converged
