"""How smooth are the losses of T tasks around a point? Local values of Lipschitz constants.

Whatever is found at a point is at most the constant, which is the largest such value over all
points: every number here bounds a Lipschitz constant from below.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from metabench.linalg.lanczos import Operator

Gradients = Callable[[Tensor], Tensor]  # points (T, P) -> each task's gradient there, (T, P)

LENGTHS = (1e-3, 1e-4)  # of the displacements of second differences [parameter]
ROUNDS = 4  # of the search for the direction in which the Hessian changes most
NOISE = 100.0  # times round-off, below which a second difference is zero
APART = 0.5  # of the larger: differences at two lengths that are further apart don't settle


class Change(NamedTuple):
    """What each task's Hessian changes by, a unit of length, at the worst that was found."""

    rate: Tensor  # (T,), 0 where it is within round-off of it
    converged: Tensor  # (T,), False where two lengths of displacement disagree: a kink is near


def frobenius(operator: Operator, signs: Tensor) -> Tensor:
    """Estimate the squared Frobenius norms of T operators, `(T,)`, from signs `(m, T, P)`.

    Without bias, the mean of |A z|^2 (Hutchinson, 1990,
    https://doi.org/10.1080/03610919008812866).
    """
    return torch.stack([(operator(sign) ** 2).sum(1) for sign in signs]).mean(0)


def hessian_change(gradients: Gradients, points: Tensor, starts: Tensor, size: Tensor) -> Change:
    r"""Search for the direction u in which each task's Hessian changes most, in float64.

    :math:`D^3 f[u, u] = (\nabla f(w + h u) + \nabla f(w - h u) - 2 \nabla f(w)) / h^2` is at most
    rho in norm for a unit vector u, and its own direction is the next u: the power method for a
    symmetric tensor, whose norm is reached at one vector taken thrice
    (De Lathauwer, De Moor & Vandewalle, 2000, https://doi.org/10.1137/S0895479898346995).

    Args:
        gradients: of all tasks at a point each.
        points: where, `(T, P)`.
        starts: directions to start from, `(s, T, P)`; one of zeros is left as it is.
        size: of the numbers that a gradient is the sum of, for its round-off, `(T,)`.

    Returns:
        The change at the worst direction, by the longer displacement.
    """
    here = gradients(points)
    eps = torch.finfo(points.dtype).eps

    def second(u: Tensor, h: float) -> Tensor:
        curved = (gradients(points + h * u) + gradients(points - h * u) - 2 * here) / h**2
        noise = NOISE * eps * size / h**2
        return torch.where((curved.norm(dim=1) > noise)[:, None], curved, 0)

    rate = points.new_zeros(len(points))
    converged = torch.ones_like(rate, dtype=torch.bool)
    for start in starts:
        u = _unit(start)
        for _ in range(ROUNDS):
            curved = second(u, LENGTHS[0])
            found = curved.norm(dim=1)
            rate = torch.maximum(rate, found.nan_to_num(0.0))
            last, u = u, torch.where((found > 0)[:, None], _unit(curved), u)
        shorter = second(last, LENGTHS[1])
        hidden = NOISE * eps * size / LENGTHS[1] ** 2  # what the shorter one can't see
        gap = (curved - shorter).norm(dim=1)
        limit = APART * torch.maximum(found, shorter.norm(dim=1)) + hidden
        converged = converged & (gap <= limit)
    return Change(rate, converged)


def _unit(vectors: Tensor) -> Tensor:
    """Scale each row to length 1; one of zeros stays."""
    size = vectors.norm(dim=1, keepdim=True)
    return vectors / torch.where(size > 0, size, 1)
