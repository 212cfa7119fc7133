"""Local Lipschitz constants of gradients and Hessians of T tasks, at a point.

A Lipschitz constant is the largest local value over all points, so every number here is a lower
bound of one.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from metabench.linalg.lanczos import Operator

Gradients = Callable[[Tensor], Tensor]  # points (T, P) -> each task's gradient there, (T, P)

DISPLACEMENTS = (1e-3, 1e-4)  # lengths, for second differences [parameter]
POWER_ITERATIONS = 4  # of the search for the direction in which the Hessian changes most
NOISE_ROUNDINGS = 100.0  # times round-off: a second difference below it counts as zero
LARGEST_GAP = 0.5  # between the two lengths, over the larger: beyond it, not converged


class HessianChange(NamedTuple):
    """Largest change of each task's Hessian per unit length, over the directions searched."""

    rate: Tensor  # (T,), 0 where it is within round-off of 0
    converged: Tensor  # (T,), False where two displacement lengths disagree, as near a kink


def frobenius(operator: Operator, signs: Tensor) -> Tensor:
    """Estimate the squared Frobenius norms of T operators, `(T,)`, from signs `(m, T, P)`.

    The unbiased mean of |A z|^2 (Hutchinson, 1990,
    https://doi.org/10.1080/03610919008812866).
    """
    return torch.stack([(operator(sign) ** 2).sum(1) for sign in signs]).mean(0)


def hessian_change(
    gradients: Gradients, points: Tensor, starts: Tensor, size: Tensor
) -> HessianChange:
    r"""Search for the direction u in which each task's Hessian changes most, in float64.

    The norm of :math:`D^3 f[u, u] = (\nabla f(w + h u) + \nabla f(w - h u) - 2 \nabla f(w)) / h^2`
    is at most rho for a unit vector u. Its direction is the next u: the power method for a
    symmetric tensor
    (De Lathauwer, De Moor & Vandewalle, 2000, https://doi.org/10.1137/S0895479898346995).

    Args:
        gradients: gradients of all tasks, each at its own point.
        points: w of each task, `(T, P)`.
        starts: initial directions, `(s, T, P)`; a zero direction stays zero.
        size: size of the terms summed in a gradient, which sets its round-off, `(T,)`.

    Returns:
        The largest change found, with the longer displacement.
    """
    here = gradients(points)
    eps = torch.finfo(points.dtype).eps

    def second(u: Tensor, h: float) -> Tensor:
        curved = (gradients(points + h * u) + gradients(points - h * u) - 2 * here) / h**2
        noise = NOISE_ROUNDINGS * eps * size / h**2
        return torch.where((curved.norm(dim=1) > noise)[:, None], curved, 0)

    rate = points.new_zeros(len(points))
    converged = torch.ones_like(rate, dtype=torch.bool)
    for start in starts:
        u = _unit(start)
        for _ in range(POWER_ITERATIONS):
            curved = second(u, DISPLACEMENTS[0])
            found = curved.norm(dim=1)
            rate = torch.maximum(rate, found.nan_to_num(0.0))
            last, u = u, torch.where((found > 0)[:, None], _unit(curved), u)
        shorter = second(last, DISPLACEMENTS[1])
        hidden = NOISE_ROUNDINGS * eps * size / DISPLACEMENTS[1] ** 2  # noise of the shorter one
        gap = (curved - shorter).norm(dim=1)
        limit = LARGEST_GAP * torch.maximum(found, shorter.norm(dim=1)) + hidden
        converged = converged & (gap <= limit)
    return HessianChange(rate, converged)


def _unit(vectors: Tensor) -> Tensor:
    """Scale each row to length 1; zero rows stay zero."""
    size = vectors.norm(dim=1, keepdim=True)
    return vectors / torch.where(size > 0, size, 1)
