r"""Exact meta-gradients at many K from one forward path, for one task.

The reverse sweeps from several K share the Hessian at each phi_k: going back from the longest, the
cotangent of each shorter path joins when its end is met, and from there on all of them are carried
by one vmapped product a step. K = 1, 2, 5, .. 200 cost one path of 200 steps and one graph a step.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from metabench.algorithms.adapt import InnerIterates, adapt, inner_batch, inner_update
from metabench.algorithms.base import Loop, through_init
from metabench.autodiff import derivatives
from metabench.problems.parameter_layout import Layout
from metabench.problems.problem import Problem
from metabench.problems.tasks import Task, tree_map


class Sweep(NamedTuple):
    """What one path says of every K of interest, n of them, and of each of its own steps."""

    grads: Tensor  # meta-gradient at each K, (n, Q)
    phis: Tensor  # phi_K, (n, P)
    inner: Tensor  # support loss at phi_K, (n,)
    outer: Tensor  # query loss at phi_K, (n,)
    ends: Tensor  # |v_K|, the query gradient in phi at phi_K, (n,)
    starts: Tensor  # |v_0| of the sweep from K, (n,)
    adjoint: Tensor  # |v_k| of the sweep from the largest K, k = 0 .. K, (K + 1,)
    forward: Tensor  # whether each layer of phi_k is finite, (K + 1, layers)
    backward: Tensor  # whether each layer of v_k is, in the sweep from the largest K, likewise
    drift: dict[str, Tensor]  # of each layer's features, at phi_0 and each phi_K, (n + 1, 2)


def sweep(loop: Loop, at: tuple[int, ...], theta: Tensor, task: Task) -> Sweep:
    """Give the exact meta-gradient at every K of the ascending `at`, `(n, Q)`."""
    problem = loop.problem
    path = adapt(loop.inner_optimizer, at[-1], problem, theta, task, rates=loop.rates)
    layout = problem.layouts.phi
    V = path.last.new_zeros(0, len(path.last))
    slots = tree_map(lambda leaf: leaf.new_zeros(0, len(leaf)), path.slots)
    through = theta.new_zeros(0, len(theta))
    adjoint, backward, outer, ends = [], [], [], []
    for k in range(at[-1], -1, -1):
        if k < at[-1]:
            V, slots, more = derivatives.vectorize(path.vjps[k])((V, slots))
            through = through + more
        if k in at:
            phi = path.states[k][0]
            loss, v, direct = derivatives.value_and_gradients(
                problem.outer_loss, phi, theta, task.query
            )
            outer.append(loss)
            ends.append(size(v))
            V, through = torch.cat([V, v[None]]), torch.cat([through, direct[None]])
            slots = tree_map(_one_more, slots)
        adjoint.append(size(V[0]))
        backward.append(finite(layout, V[0]))
    init = derivatives.vectorize(lambda v: through_init(problem, theta, v))
    seen = [path.states[k][0] for k in (0, *at)]
    return Sweep(
        grads=(init(V) + through).flip(0),
        phis=torch.stack([path.states[k][0] for k in at]),
        inner=torch.stack([problem.inner_loss(path.states[k][0], theta, task.support) for k in at]),
        outer=torch.stack(outer[::-1]),
        ends=torch.stack(ends[::-1]),
        starts=size(V).flip(0),
        adjoint=torch.stack(adjoint[::-1]),
        forward=torch.stack([finite(layout, phi) for phi, _ in path.states]),
        backward=torch.stack(backward[::-1]),
        drift=drift(problem, seen, theta, task),
    )


def drift(problem: Problem, phis: list[Tensor], theta: Tensor, task: Task) -> dict[str, Tensor]:
    r"""Say how far each layer's features have moved from those at the first phi, `(n, 2)` a layer.

    How far their means have, in standard deviations at the first phi,
    :math:`|\mu - \mu_0| / |\sigma_0|` over channels; and by what factor their spread has grown,
    :math:`|\sigma| / |\sigma_0|`. On the support set. NaN at the first where nothing varies there.
    """
    if problem.features is None:
        return {}
    each = [problem.features(phi, theta, task.support) for phi in phis]
    moved = {}
    for name, first in each[0].items():
        spread = first.variance.sum().sqrt()
        pairs = [
            torch.stack([(at[name].mean - first.mean).norm(), at[name].variance.sum().sqrt()])
            for at in each
        ]
        moved[name] = torch.stack(pairs) / spread
    return moved


def _one_more(slot: Tensor) -> Tensor:
    """Append the cotangent of a slot where a path ends, which is zero."""
    return torch.cat([slot, slot.new_zeros(1, slot.shape[1])])


def size(vectors: Tensor) -> Tensor:
    """Give the norm along the last axis in float64, where no square of a float32 overflows."""
    norm: Tensor = vectors.double().norm(dim=-1)
    return norm


def finite(layout: Layout, vector: Tensor) -> Tensor:
    """Say of each layer of a vector whether all its numbers are finite, `(layers,)`."""
    parts = torch.split(torch.isfinite(vector), list(layout.sizes), dim=-1)
    return torch.stack([part.all(-1) for part in parts], -1)


def layer_norms(layout: Layout, vectors: Tensor) -> Tensor:
    """Give the norm of each layer of vectors `(..., Q)`, `(..., layers)`, in float64."""
    parts = torch.split(vectors, list(layout.sizes), dim=-1)
    return torch.stack([size(part) for part in parts], -1)


def exponents(
    loop: Loop, steps: int, theta: Tensor, task: Task, start: Tensor, rounds: int
) -> tuple[Tensor, Tensor]:
    r"""Give the leading finite-time Lyapunov exponents of the path from phi_0 to phi_K.

    They are :math:`\log \sigma_i(d\phi_K / d\phi_0) / K`, the optimizer starting at rest. A block
    of d vectors goes back along the path, in phi and the optimizer's slots, and forward again,
    orthonormalized by QR at each step, `rounds` times: block power iteration for the singular
    values of a product that may overflow
    (Benettin, Galgani, Giorgilli & Strelcyn, 1980, https://doi.org/10.1007/BF02128236).

    Args:
        loop: the inner loop.
        steps: K, at least 1.
        theta: `(Q,)`.
        task: one task.
        start: the block, `(d, P)`.
        rounds: ways back and forth.

    Returns:
        The d exponents after the last way, descending, and after the one before, each `(d,)`.
    """
    path = adapt(loop.inner_optimizer, steps, loop.problem, theta, task, rates=loop.rates)
    forth = [_jacobian(loop, path, k, theta, task) for k in range(steps)]
    back = [_transposed(path, k) for k in reversed(range(steps))]
    block, rest = _orthonormal(start)[0], start.new_zeros(len(start), 0)
    rest = torch.cat([rest, *(start.new_zeros(len(start), len(leaf)) for leaf in path.slots)], 1)
    seen = []
    for _ in range(rounds):
        for way in (back, forth):
            block, logs = torch.cat([block, rest], 1), torch.zeros_like(start[:, 0]).double()
            for product in way:
                block, grown = _orthonormal(product(block))
                logs = logs + grown
            block, grown = _orthonormal(block[:, : start.shape[1]])
            seen.append((logs + grown) / steps)
    return seen[-1], seen[-2]


def _orthonormal(block: Tensor) -> tuple[Tensor, Tensor]:
    """Orthonormalize the rows, and give the logarithm of what each had grown by."""
    Q, R = torch.linalg.qr(block.mT)
    return Q.mT, R.diagonal(dim1=-2, dim2=-1).double().abs().log()


def _transposed(path: InnerIterates, k: int) -> Callable[[Tensor], Tensor]:
    """Apply the transposed Jacobian of step k, in phi and slots, to each row."""

    def product(w: Tensor) -> Tensor:
        v, *slots = torch.split(w, len(path.last))
        v, slots_bar, _ = path.vjps[k]((v, tuple(slots)))
        return torch.cat([v, *slots_bar])

    return derivatives.vectorize(product)


def _jacobian(
    loop: Loop, path: InnerIterates, k: int, theta: Tensor, task: Task
) -> Callable[[Tensor], Tensor]:
    """Apply the Jacobian of step k to each row: the Hessian is symmetric, the step's own isn't."""
    phi, slots = path.states[k]

    def product(w: Tensor, times: Callable[[Tensor], Tensor], slope: Tensor) -> Tensor:
        v, *moved = torch.split(w, len(phi))
        change, slots_change = derivatives.jvp_of(
            lambda g, p, s: inner_update(loop.inner_optimizer, g, p, s, k, theta, loop.rates),
            (slope, phi, slots),
            (times(v), v, tuple(moved)),
        )
        return torch.cat([change, *slots_change])

    def many(block: Tensor) -> Tensor:
        slope, products = derivatives.gradient_with_products(
            loop.problem.inner_loss, phi, theta, inner_batch(task, k)
        )
        rows = derivatives.vectorize(lambda w: product(w, lambda v: products(v)[0], slope))
        made: Tensor = rows(block)
        return made

    return many
