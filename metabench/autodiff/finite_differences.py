"""Directional derivatives by finite differences, NaN where these cannot be trusted.

On a ReLU network a step of 1e-4 can be off by tens where one of 1e-6 is accurate to 1e-8, and no
step is right at a kink. A value therefore counts only where two adjacent steps agree and the
one-sided differences approach each other as the step decreases.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

STEPS = (1e-5, 1e-6, 1e-7, 1e-8)  # in float64, along a unit vector
AGREEMENT = 1e-5  # largest difference of two adjacent steps that agree, over `scale`
KINK_GAP = 1e-4  # least difference of one-sided values at a kink, over `scale`


def directional_derivatives(
    function: Callable[[Tensor], Tensor], at: Tensor, along: Tensor, scale: Tensor
) -> Tensor:
    """Estimate the derivatives of T numbers along a unit vector by central differences, `(T,)`.

    Args:
        function: `(Q,) -> (T,)`, in float64.
        at: the point, `(Q,)`.
        along: a unit vector, `(Q,)`.
        scale: expected size of each derivative, `(T,)`.

    Returns:
        Derivatives with an error of the order of 1e-6 of `scale`; NaN where no two steps agree.

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
        central = (ahead - behind) / (2 * h)
        gap = ((ahead - here) / h - (here - behind) / h).abs()
        kink = (gap > 0.5 * before_gap) & (gap > KINK_GAP * scale)
        agree = ((central - before).abs() <= AGREEMENT * scale) & ~kink
        converged = torch.where(converged.isnan() & agree, central, converged)
        if not converged.isnan().any():
            break
        before, before_gap = central, gap
    return converged
