"""References of imaml and bmaml, which share no code with metabench.

The implicit gradient by a dense Hessian and a direct solve; Stein variational steps by pairs of
particles, and their chaser loss.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_map

from reports.what_runs.unroll import Call, Named


def implicit(
    call: Call, theta: Named, support: Any, query: Any, steps: int, rate: float, strength: float
) -> dict[str, Tensor]:
    """Return lambda (H + lambda I)^-1 of the query gradient at the last inner iterate.

    Args:
        call: the loss.
        theta: parameters of the module.
        support: the set of the inner loss.
        query: the set of the outer loss.
        steps: inner steps.
        rate: of the inner steps.
        strength: lambda of lambda / 2 |phi - theta|^2.
    """
    start = torch.cat([value.reshape(-1) for value in theta.values()])

    def inner(flat: Tensor) -> Tensor:
        return call(_named(flat, theta), support)

    phi = start.clone()
    for _ in range(steps):
        at = phi.requires_grad_()
        (gradient,) = torch.autograd.grad(inner(at), at)
        phi = (phi - rate * (gradient + strength * (phi - start))).detach()
    dense = torch.autograd.functional.hessian(inner, phi)  # type: ignore[no-untyped-call]
    hessian: Tensor = dense
    at = phi.clone().requires_grad_()
    (outer,) = torch.autograd.grad(call(_named(at, theta), query), at)
    shifted = hessian + strength * torch.eye(len(phi), dtype=phi.dtype)
    return _named(strength * torch.linalg.solve(shifted, outer), theta)


def chased(
    call: Call, theta: Named, support: Any, query: Any, steps: int, rate: float, particles: int
) -> dict[str, Tensor]:
    """Return the gradient of half the squared distance to a leader of one step more.

    Args:
        call: the loss.
        theta: parameters of the module, the first particle, and parts `particle.M.NAME`.
        support: the set of the chaser.
        query: the leader takes it beside the support set.
        steps: of the chaser.
        rate: of the steps.
        particles: how many there are.
    """
    names = [name for name in theta if not name.startswith("particle.")]
    leaves = {name: value.clone().requires_grad_() for name, value in theta.items()}
    own = [
        [leaves[name if m == 0 else f"particle.{m + 1}.{name}"] for name in names]
        for m in range(particles)
    ]
    moving = [torch.cat([value.reshape(-1) for value in each]) for each in own]
    shapes = {name: theta[name] for name in names}
    for _ in range(steps):
        moving = _stein_step(call, moving, shapes, support, rate)
    leader = _stein_step(
        call, moving, shapes, tree_map(lambda *sets: torch.cat(sets), support, query), rate
    )
    chaser, target = torch.cat(moving), torch.cat(leader).detach()
    found = torch.autograd.grad(0.5 * ((chaser - target) ** 2).sum(), list(leaves.values()))
    return dict(zip(leaves, found, strict=True))


def _stein_step(
    call: Call, moving: list[Tensor], shapes: Named, data: Any, rate: float
) -> list[Tensor]:
    """Move every particle by the kernel's mean of the others' gradients, and away from them."""
    M = len(moving)
    scores = [
        torch.autograd.grad(-call(_named(one, shapes), data), one, create_graph=True)[0]
        for one in moving
    ]
    squared = [((moving[j] - moving[m]) ** 2).sum() for j in range(M) for m in range(j + 1, M)]
    median = sorted(squared, key=float)[(len(squared) - 1) // 2]
    h = median / math.log(M + 1)
    moved = []
    for m in range(M):
        direction = torch.zeros_like(moving[m])
        for j in range(M):
            kernel = (-((moving[j] - moving[m]) ** 2).sum() / h).exp()
            direction = direction + kernel * (scores[j] - 2 * (moving[j] - moving[m]) / h)
        moved.append(moving[m] + rate * direction / M)
    return moved


def _named(flat: Tensor, like: Named) -> dict[str, Tensor]:
    sizes: Any = [value.numel() for value in like.values()]
    parts = torch.split(flat, sizes)
    shaped = zip(parts, like.items(), strict=True)
    return {name: part.view(value.shape) for part, (name, value) in shaped}
