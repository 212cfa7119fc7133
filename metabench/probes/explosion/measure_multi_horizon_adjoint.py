r"""Exact meta-gradients of one task at many K from a single unroll.

The backward passes from several K share the Hessian at each phi_k. Going back from the largest K,
the cotangent of each smaller K is appended at its phi_K, and all of them are propagated by one
vmapped product a step. K = 1, 2, 5, .. 200 cost one unroll of 200 steps and one graph a step.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from metabench.algorithms.adapt import InnerIterates, adapt, inner_batch, inner_update
from metabench.algorithms.base import Loop, through_init
from metabench.autodiff import derivatives, per_task_products
from metabench.problems.parameter_layout import Layout
from metabench.problems.problem import Problem
from metabench.problems.tasks import Task, tree_map


class Sweep(NamedTuple):
    """Meta-gradients, losses and norms of one task at n values of K, and at each inner step."""

    grads: Tensor  # meta-gradient at each K, (n, Q)
    phis: Tensor  # phi_K, (n, P)
    inner: Tensor  # support loss at phi_K, (n,)
    outer: Tensor  # query loss at phi_K, (n,)
    ends: Tensor  # |v_K|, the query gradient in phi at phi_K, (n,)
    starts: Tensor  # |v_0| of the backward pass from K, (n,)
    adjoint: Tensor  # |v_k| of the pass from the largest K, k = 0 .. K, (K + 1,)
    forward: Tensor  # whether each layer of phi_k is finite, (K + 1, layers)
    backward: Tensor  # the same of v_k, in the pass from the largest K
    drift: dict[str, Tensor]  # of each layer's features, at phi_0 and each phi_K, (n + 1, 2)


def sweep(loop: Loop, at: tuple[int, ...], theta: Tensor, task: Task) -> Sweep:
    """Compute the exact meta-gradients of one task at every K in `at`.

    Args:
        loop: the inner loop.
        at: the n values of K, ascending.
        theta: `(Q,)`.
        task: one task.
    """
    problem = loop.problem
    iterates = adapt(loop.inner_optimizer, at[-1], problem, theta, task, rates=loop.rates)
    layout = problem.layouts.phi
    V = iterates.last.new_zeros(0, len(iterates.last))
    slots = tree_map(lambda leaf: leaf.new_zeros(0, len(leaf)), iterates.slots)
    through = theta.new_zeros(0, len(theta))
    adjoint, backward, outer, ends = [], [], [], []
    for k in range(at[-1], -1, -1):
        if k < at[-1]:
            V, slots, more = per_task_products.vectorize(iterates.vjps[k])((V, slots))
            through = through + more
        if k in at:
            phi = iterates.states[k][0]
            loss, v, direct = derivatives.value_and_gradients(
                problem.outer_loss, phi, theta, task.query
            )
            outer.append(loss)
            ends.append(norm(v))
            V, through = torch.cat([V, v[None]]), torch.cat([through, direct[None]])
            slots = tree_map(_append_zero, slots)
        adjoint.append(norm(V[0]))
        backward.append(finite_layers(layout, V[0]))
    init = per_task_products.vectorize(lambda v: through_init(problem, theta, v))
    phis = [iterates.states[k][0] for k in (0, *at)]
    return Sweep(
        grads=(init(V) + through).flip(0),
        phis=torch.stack([iterates.states[k][0] for k in at]),
        inner=torch.stack(
            [problem.inner_loss(iterates.states[k][0], theta, task.support) for k in at]
        ),
        outer=torch.stack(outer[::-1]),
        ends=torch.stack(ends[::-1]),
        starts=norm(V).flip(0),
        adjoint=torch.stack(adjoint[::-1]),
        forward=torch.stack([finite_layers(layout, phi) for phi, _ in iterates.states]),
        backward=torch.stack(backward[::-1]),
        drift=feature_drift(problem, phis, theta, task),
    )


def feature_drift(
    problem: Problem, phis: list[Tensor], theta: Tensor, task: Task
) -> dict[str, Tensor]:
    r"""Compute how far each layer's features have moved since the first phi.

    Args:
        problem: what gives the features; without them nothing is returned.
        phis: `(P,)` each, n of them.
        theta: `(Q,)`.
        task: one task, of which the support set is used.

    Returns:
        `(n, 2)` for each layer: the shift of the means in standard deviations at the first phi,
        :math:`|\mu - \mu_0| / |\sigma_0|` over channels, and the growth of the spread,
        :math:`|\sigma| / |\sigma_0|`. NaN at the first phi if nothing varies there.
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


def _append_zero(slot: Tensor) -> Tensor:
    """Append the cotangent of an optimizer slot at phi_K, which is zero."""
    return torch.cat([slot, slot.new_zeros(1, slot.shape[1])])


def norm(vectors: Tensor) -> Tensor:
    """Return the norm along the last axis in float64, where no square of a float32 overflows."""
    norm: Tensor = vectors.double().norm(dim=-1)
    return norm


def finite_layers(layout: Layout, vector: Tensor) -> Tensor:
    """Return whether all numbers of each layer of a vector are finite, `(layers,)`."""
    parts = torch.split(torch.isfinite(vector), list(layout.sizes), dim=-1)
    return torch.stack([part.all(-1) for part in parts], -1)


def layer_norms(layout: Layout, vectors: Tensor) -> Tensor:
    """Return the norms of the layers of vectors `(..., Q)` in float64, `(..., layers)`."""
    parts = torch.split(vectors, list(layout.sizes), dim=-1)
    return torch.stack([norm(part) for part in parts], -1)


def lyapunov_exponents(
    loop: Loop, steps: int, theta: Tensor, task: Task, start: Tensor, rounds: int
) -> Tensor:
    r"""Compute the leading finite-time Lyapunov exponents of the map from phi_0 to phi_K.

    They are :math:`\log \sigma_i(d\phi_K / d\phi_0) / K`, the optimizer starting at rest. A block
    of d vectors is propagated backward through the inner steps, in phi and the optimizer's slots,
    and forward again, orthonormalized by QR at each step, `rounds` times. This is a block power
    iteration for the singular values of a product that may overflow
    (Benettin, Galgani, Giorgilli & Strelcyn, 1980, https://doi.org/10.1007/BF02128236).

    Args:
        loop: the inner loop.
        steps: K, at least 1.
        theta: `(Q,)`.
        task: one task.
        start: the block, `(d, P)`.
        rounds: backward and forward passes.

    Returns:
        The d exponents after each pass, backward or forward, `(2 rounds, d)`: the last is best.
    """
    iterates = adapt(loop.inner_optimizer, steps, loop.problem, theta, task, rates=loop.rates)
    forth = [_jacobian(loop, iterates, k, theta, task) for k in range(steps)]
    back = [_transposed_jacobian(iterates, k) for k in reversed(range(steps))]
    block, rest = _orthonormal(start)[0], start.new_zeros(len(start), 0)
    rest = torch.cat(
        [rest, *(start.new_zeros(len(start), len(leaf)) for leaf in iterates.slots)], 1
    )
    estimates = []
    for _ in range(rounds):
        for way in (back, forth):
            block, logs = torch.cat([block, rest], 1), torch.zeros_like(start[:, 0]).double()
            for product in way:
                block, grown = _orthonormal(product(block))
                logs = logs + grown
            block, grown = _orthonormal(block[:, : start.shape[1]])
            estimates.append((logs + grown) / steps)
    return torch.stack(estimates)


def _orthonormal(block: Tensor) -> tuple[Tensor, Tensor]:
    """Orthonormalize the rows, and return the logarithms of their growth."""
    Q, R = torch.linalg.qr(block.mT)
    return Q.mT, R.diagonal(dim1=-2, dim2=-1).double().abs().log()


def _transposed_jacobian(iterates: InnerIterates, k: int) -> Callable[[Tensor], Tensor]:
    """Return the product of the transposed Jacobian of step k, in phi and slots, with each row."""

    def product(w: Tensor) -> Tensor:
        v, *slots = torch.split(w, len(iterates.last))
        v, slots_bar, _ = iterates.vjps[k]((v, tuple(slots)))
        return torch.cat([v, *slots_bar])

    return per_task_products.vectorize(product)


def _jacobian(
    loop: Loop, iterates: InnerIterates, k: int, theta: Tensor, task: Task
) -> Callable[[Tensor], Tensor]:
    """Return the product of the Jacobian of step k, in phi and slots, with each row."""
    phi, slots = iterates.states[k]

    def product(w: Tensor, times: Callable[[Tensor], Tensor], gradient: Tensor) -> Tensor:
        v, *moved = torch.split(w, len(phi))
        change, slots_change = derivatives.jvp_of(
            lambda g, p, s: inner_update(loop.inner_optimizer, g, p, s, k, theta, loop.rates),
            (gradient, phi, slots),
            (times(v), v, tuple(moved)),
        )
        return torch.cat([change, *slots_change])

    def many(block: Tensor) -> Tensor:
        gradient, products = derivatives.gradient_with_products(
            loop.problem.inner_loss, phi, theta, inner_batch(loop.problem, task, k)
        )
        rows = per_task_products.vectorize(lambda w: product(w, lambda v: products(v)[0], gradient))
        made: Tensor = rows(block)
        return made

    return many
