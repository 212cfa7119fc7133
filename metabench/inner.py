r"""The inner loop and its exact adjoint, for one task.

`adapt` walks phi_0 .. phi_K and keeps the path, no graph: (1 + slots) P numbers a step. `pullback`
walks it backwards; for plain gradient descent it is
:math:`v_k = v_{k+1} - H_k (\alpha v_{k+1})` with H_k the Hessian of the support loss at phi_k.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

from metabench import curvature
from metabench.problem import Problem, Task, tree_map
from metabench.steps.step import Slots, Step


class Path(NamedTuple):
    """Where the inner loop went: phi_K `(P,)`, and (phi_k, slots_k) for k = 0 .. K - 1."""

    last: Tensor
    trail: tuple[tuple[Tensor, Slots], ...]


class Adjoint(NamedTuple):
    """What a cotangent of phi_K becomes at the start of the path.

    `norms[k]` is |v_k|, k = 0 .. K: where on the path the meta-gradient grows or fades.
    """

    phi: Tensor  # v_0, (P,)
    theta: Tensor  # through the inner loss's own dependence on theta, (Q,)
    norms: Tensor  # (K + 1,)


def adapt(step: Step, steps: int, problem: Problem, theta: Tensor, task: Task) -> Path:
    """Take K = `steps` inner steps on the support set from phi_0 = init(theta)."""
    phi = problem.init(theta)
    slots = step.start(phi)
    trail = []
    for k in range(steps):
        trail.append((phi, slots))
        slope = curvature.gradient(problem.inner_loss, phi, theta, _batch(task, k))
        phi, slots = step(slope, phi, slots, k)
    return Path(phi, tuple(trail))


def pullback(
    step: Step, problem: Problem, theta: Tensor, task: Task, path: Path, cotangent: Tensor
) -> Adjoint:
    """Carry v_K = `cotangent` `(P,)` back along the path, exactly."""
    v = cotangent
    slots_bar = tree_map(torch.zeros_like, step.start(path.last))
    theta_bar = torch.zeros_like(theta)
    norms = [v.norm()]
    for k in reversed(range(len(path.trail))):
        phi, slots = path.trail[k]
        slope, products = curvature.gradient_with_products(
            problem.inner_loss, phi, theta, _batch(task, k)
        )
        _, pull = curvature.pullback_of(lambda g, p, s, k=k: step(g, p, s, k), slope, phi, slots)
        slope_bar, v, slots_bar = pull((v, slots_bar))
        through_hessian, through_theta = products(slope_bar)
        v = v + through_hessian
        theta_bar = theta_bar + through_theta
        norms.append(v.norm())
    return Adjoint(v, theta_bar, torch.stack(norms[::-1]))


def _batch(task: Task, k: int) -> Any:
    """Give what inner step k sees: the addressed mini-batch, or the whole support set."""
    noise = task.noise
    if isinstance(noise, tuple):
        return task.support
    return tree_map(lambda leaf: leaf[noise[k]], task.support)
