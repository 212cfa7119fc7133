r"""The inner loop and its exact adjoint, for one task.

`adapt` walks phi_0 .. phi_K and either keeps the graph of each step, or only where it began,
(1 + slots) P numbers, to recompute the graph when it is needed, or where every so many began.
`backpropagate` walks back; for plain gradient descent that is
:math:`v_k = v_{k+1} - H_k (\alpha v_{k+1})` with H_k the Hessian of the support loss at phi_k.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from metabench.algorithms.inner_optimizers.inner_optimizer import InnerOptimizer, Slots
from metabench.autodiff import derivatives
from metabench.problems.problem import Problem
from metabench.problems.tasks import Task, tree_map

# What is kept of each inner step: its graph, where it began, that of a few steps, or nothing, for
# no way back.
KEEP_GRAPHS, RECOMPUTE_EACH, RECOMPUTE_SQRT, NO_BACKWARD = "none", "every_step", "sqrt", "forget"

StepFunction = Callable[[Tensor, Slots, Tensor], tuple[Tensor, Slots]]  # phi, slots, theta -> next
VJP = Callable[[tuple[Tensor, Slots]], tuple[Tensor, Slots, Tensor]]  # cotangents, backwards
Rates = Callable[[Tensor, int], Tensor]  # (theta, k) -> what a step's move is multiplied by, (P,)


class InnerIterates(NamedTuple):
    """Where the inner loop went: phi_K `(P,)` and its slots, and the way back over each step."""

    last: Tensor
    slots: Slots
    vjps: tuple[VJP, ...]
    states: tuple[
        tuple[Tensor, Slots], ...
    ]  # (phi_k, slots_k) for k = 0 .. K; K alone if sparse or forgotten


class Adjoint(NamedTuple):
    """What a cotangent of phi_K becomes at the start of the path.

    `norms[k]` is |v_k|, k = 0 .. K: where on the path the meta-gradient grows or fades.
    """

    phi: Tensor  # v_0, (P,)
    theta: Tensor  # through the inner loss's own dependence on theta, (Q,)
    norms: Tensor  # (K + 1,)


def adapt(
    step: InnerOptimizer,
    steps: int,
    problem: Problem,
    theta: Tensor,
    task: Task,
    rematerialize: str = RECOMPUTE_EACH,
    rates: Rates | None = None,
) -> InnerIterates:
    """Take K = `steps` inner steps on the support set from phi_0 = init(theta)."""
    step_functions = [step_function(step, problem, task, k, rates) for k in range(steps)]
    return unroll(step_functions, step, problem.init(theta), theta, rematerialize)


def unroll(
    step_functions: Sequence[StepFunction],
    step: InnerOptimizer,
    phi: Tensor,
    theta: Tensor,
    rematerialize: str = RECOMPUTE_EACH,
) -> InnerIterates:
    """Go through inner steps from phi_0 `(P,)`, and keep the way back over each."""
    slots = step.start(phi)
    if rematerialize == RECOMPUTE_SQRT:
        return _sparse(step_functions, phi, slots, theta)
    backs: list[VJP] = []
    states = [(phi, slots)]
    for forward in step_functions:
        if rematerialize == NO_BACKWARD:
            phi, slots = forward(phi, slots, theta)
            states = [(phi, slots)]
            continue
        if rematerialize == KEEP_GRAPHS:
            (phi, slots), back = derivatives.vjp_of(forward, phi, slots, theta)
        else:
            back = _recomputed(forward, phi, slots, theta)
            phi, slots = forward(phi, slots, theta)
        backs.append(back)
        states.append((phi, slots))
    return InnerIterates(phi, slots, tuple(backs), tuple(states))


def backpropagate(
    path: InnerIterates, theta: Tensor, cotangent: Tensor, along: Mapping[int, Tensor] | None = None
) -> Adjoint:
    """Carry v_K = `cotangent` `(P,)` back along the path, exactly.

    Args:
        path: where the inner loop went.
        theta: where it started from, `(Q,)`.
        cotangent: of phi_K, `(P,)`.
        along: cotangents that phi_k has besides, by k < K, each `(P,)`.

    Returns:
        The cotangents at the start of the path.
    """
    v, besides = cotangent, along or {}
    slots_bar = tree_map(torch.zeros_like, path.slots)
    theta_bar = torch.zeros_like(theta)
    norms = [v.norm()]
    for k, back in reversed(list(enumerate(path.vjps))):
        v, slots_bar, through_theta = back((v, slots_bar))
        v = v + besides[k] if k in besides else v
        theta_bar = theta_bar + through_theta
        norms.append(v.norm())
    return Adjoint(v, theta_bar, torch.stack(norms[::-1]))


def step_function(
    step: InnerOptimizer,
    problem: Problem,
    task: Task,
    k: int,
    rates: Rates | None = None,
    second: bool = True,
) -> StepFunction:
    """Give inner step k as a function of all that a cotangent can reach through it.

    Without `second` derivatives the inner gradient is a constant to it.
    """

    def forward(phi: Tensor, slots: Slots, theta: Tensor) -> tuple[Tensor, Slots]:
        slope = derivatives.gradient(problem.inner_loss, phi, theta, inner_batch(task, k))
        slope = slope if second else slope.detach()
        return inner_update(step, slope, phi, slots, k, theta, rates)

    return forward


def inner_update(
    step: InnerOptimizer,
    slope: Tensor,
    phi: Tensor,
    slots: Slots,
    k: int,
    theta: Tensor,
    rates: Rates | None,
) -> tuple[Tensor, Slots]:
    """Take step k from phi with the gradient given, times the rates if there are learned ones."""
    moved, slots = step(slope, phi, slots, k)
    return moved if rates is None else phi + rates(theta, k) * (moved - phi), slots


def _recomputed(step_function: StepFunction, phi: Tensor, slots: Slots, theta: Tensor) -> VJP:
    """Hold where the step began, and take it again when its cotangent arrives."""
    return lambda cotangent: derivatives.vjp_of(step_function, phi, slots, theta)[1](cotangent)


def _sparse(
    step_functions: Sequence[StepFunction], phi: Tensor, slots: Slots, theta: Tensor
) -> InnerIterates:
    """Hold where every so many steps began, sqrt(K) / 2, and walk again from there on the way back.

    From 16 steps on: at fewer, every step's beginning is held
    (Griewank & Walther, 2000, https://doi.org/10.1145/347837.347846, do with fewer yet).
    """
    stride, backs = max(math.isqrt(len(step_functions)) // 2, 1), []
    for start in range(0, len(step_functions), stride):
        stretch = _Stretch(step_functions[start : start + stride], phi, slots, theta)
        backs += [functools.partial(stretch.back, i) for i in range(len(stretch.step_functions))]
        for forward in stretch.step_functions:
            phi, slots = forward(phi, slots, theta)
    return InnerIterates(phi, slots, tuple(backs), ((phi, slots),))


class _Stretch:
    """A few inner steps of which only the first's beginning is held until they are walked back."""

    def __init__(
        self, step_functions: Sequence[StepFunction], phi: Tensor, slots: Slots, theta: Tensor
    ) -> None:
        self.step_functions, self.theta = step_functions, theta
        self._states = [(phi, slots)]

    def back(self, i: int, cotangent: tuple[Tensor, Slots]) -> tuple[Tensor, Slots, Tensor]:
        """Carry a cotangent back over step i, and let go of what lies beyond."""
        while len(self._states) <= i:
            forward = self.step_functions[len(self._states) - 1]
            self._states.append(forward(*self._states[-1], self.theta))
        del self._states[i + 1 :]
        _, pull = derivatives.vjp_of(self.step_functions[i], *self._states[i], self.theta)
        found: tuple[Tensor, Slots, Tensor] = pull(cotangent)
        return found


def inner_batch(task: Task, k: int) -> Any:
    """Give what inner step k sees: the addressed mini-batch, or the whole support set."""
    noise = task.noise
    if isinstance(noise, tuple):
        return task.support
    return tree_map(lambda leaf: leaf[noise[k]], task.support)
