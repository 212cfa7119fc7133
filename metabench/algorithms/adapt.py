r"""The inner loop of one task and its exact adjoint (vector-Jacobian products, step by step).

`adapt` computes phi_0 .. phi_K. What it stores of each step is chosen by `rematerialize`: the graph
of every step, the state before every step ((1 + slots) P numbers, the graph is recomputed in the
backward pass), or the state before every few steps. `backpropagate` is the backward pass; for plain
gradient descent it computes :math:`v_k = v_{k+1} - H_k (\alpha v_{k+1})`, H_k the Hessian of the
support loss at phi_k.
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

# What is stored of the inner steps for the backward pass: every graph, the state before every step,
# the state before every few steps, or nothing (forward only). Values of `rematerialize`.
KEEP_GRAPHS, RECOMPUTE_EACH, RECOMPUTE_SQRT, NO_BACKWARD = "none", "every_step", "sqrt", "forget"

StepFunction = Callable[[Tensor, Slots, Tensor], tuple[Tensor, Slots]]  # phi, slots, theta -> next
VJP = Callable[[tuple[Tensor, Slots]], tuple[Tensor, Slots, Tensor]]  # cotangents, backwards
Rates = Callable[[Tensor, int], Tensor]  # (theta, k) -> factors of step k's update of phi, (P,)


class InnerIterates(NamedTuple):
    """Result of the inner loop: phi_K `(P,)`, its slots, and the VJP of every step."""

    last: Tensor
    slots: Slots
    vjps: tuple[VJP, ...]
    # (phi_k, slots_k) for k = 0 .. K; of K alone with RECOMPUTE_SQRT and NO_BACKWARD
    states: tuple[tuple[Tensor, Slots], ...]


class Adjoint(NamedTuple):
    """Cotangents at the start of the inner loop, for a given cotangent of phi_K.

    `norms[k]` is |v_k|, k = 0 .. K: at which inner steps the meta-gradient grows or shrinks.
    """

    phi: Tensor  # v_0, (P,)
    theta: Tensor  # through the inner loss's direct dependence on theta, (Q,)
    norms: Tensor  # (K + 1,)


def adapt(
    optimizer: InnerOptimizer,
    steps: int,
    problem: Problem,
    theta: Tensor,
    task: Task,
    rematerialize: str = RECOMPUTE_EACH,
    rates: Rates | None = None,
) -> InnerIterates:
    """Take K = `steps` inner steps on the support set from phi_0 = init(theta).

    Args:
        optimizer: the inner optimizer.
        steps: K, inner steps.
        problem: gives `init` and the inner loss.
        theta: meta-parameters, `(Q,)`.
        task: one task.
        rematerialize: what is stored for the backward pass (see the module).
        rates: learned factors of each step's update, if any.

    Returns:
        phi_K and what the backward pass needs.
    """
    step_functions = [step_function(optimizer, problem, task, k, rates) for k in range(steps)]
    return unroll(step_functions, optimizer, problem.init(theta), theta, rematerialize)


def unroll(
    step_functions: Sequence[StepFunction],
    optimizer: InnerOptimizer,
    phi: Tensor,
    theta: Tensor,
    rematerialize: str = RECOMPUTE_EACH,
) -> InnerIterates:
    """Run the inner steps from phi_0 and store the VJP of each.

    Args:
        step_functions: the inner steps, in order.
        optimizer: gives the slots before the first step.
        phi: phi_0, `(P,)`.
        theta: meta-parameters, `(Q,)`.
        rematerialize: what is stored for the backward pass (see the module).

    Returns:
        phi_K and what the backward pass needs.
    """
    slots = optimizer.start(phi)
    if rematerialize == RECOMPUTE_SQRT:
        return _unroll_in_segments(step_functions, phi, slots, theta)
    vjps: list[VJP] = []
    states = [(phi, slots)]
    for step in step_functions:
        if rematerialize == NO_BACKWARD:
            phi, slots = step(phi, slots, theta)
            states = [(phi, slots)]
            continue
        if rematerialize == KEEP_GRAPHS:
            (phi, slots), vjp = derivatives.vjp_of(step, phi, slots, theta)
        else:
            vjp = _recomputing_vjp(step, phi, slots, theta)
            phi, slots = step(phi, slots, theta)
        vjps.append(vjp)
        states.append((phi, slots))
    return InnerIterates(phi, slots, tuple(vjps), tuple(states))


def backpropagate(
    iterates: InnerIterates,
    theta: Tensor,
    cotangent: Tensor,
    loss_gradients: Mapping[int, Tensor] | None = None,
) -> Adjoint:
    """Backpropagate v_K = `cotangent` `(P,)` through all inner steps, exactly.

    Args:
        iterates: result of the forward pass.
        theta: meta-parameters, `(Q,)`.
        cotangent: of phi_K, `(P,)`.
        loss_gradients: gradients of losses at earlier phi_k, by k < K, each `(P,)`; added to v_k.

    Returns:
        The cotangents of phi_0 and theta.
    """
    v, added = cotangent, loss_gradients or {}
    slots_bar = tree_map(torch.zeros_like, iterates.slots)
    theta_bar = torch.zeros_like(theta)
    norms = [v.norm()]
    for k, vjp in reversed(list(enumerate(iterates.vjps))):
        v, slots_bar, through_theta = vjp((v, slots_bar))
        v = v + added[k] if k in added else v
        theta_bar = theta_bar + through_theta
        norms.append(v.norm())
    return Adjoint(v, theta_bar, torch.stack(norms[::-1]))


def step_function(
    optimizer: InnerOptimizer,
    problem: Problem,
    task: Task,
    k: int,
    rates: Rates | None = None,
    second_order: bool = True,
) -> StepFunction:
    """Return inner step k as a function of phi, slots and theta.

    Args:
        optimizer: the inner optimizer.
        problem: gives the inner loss.
        task: one task.
        k: index of the step, from 0.
        rates: learned factors of the step's update, if any.
        second_order: False detaches the inner gradient, so no second derivative is taken.

    Returns:
        The function `(phi, slots, theta) -> (phi, slots)`.
    """

    def step(phi: Tensor, slots: Slots, theta: Tensor) -> tuple[Tensor, Slots]:
        gradient = derivatives.gradient(
            problem.inner_loss, phi, theta, inner_batch(problem, task, k)
        )
        gradient = gradient if second_order else gradient.detach()
        return inner_update(optimizer, gradient, phi, slots, k, theta, rates)

    return step


def inner_update(
    optimizer: InnerOptimizer,
    gradient: Tensor,
    phi: Tensor,
    slots: Slots,
    k: int,
    theta: Tensor,
    rates: Rates | None,
) -> tuple[Tensor, Slots]:
    """Update phi by step k of the optimizer, the update multiplied by learned rates if any.

    Args:
        optimizer: the inner optimizer.
        gradient: of the inner loss at phi, `(P,)`.
        phi: parameters before the step, `(P,)`.
        slots: optimizer state before the step.
        k: index of the step, from 0.
        theta: meta-parameters, which the rates are read from, `(Q,)`.
        rates: learned factors of the update, or None.

    Returns:
        phi and slots after the step.
    """
    updated, slots = optimizer(gradient, phi, slots, k)
    return updated if rates is None else phi + rates(theta, k) * (updated - phi), slots


def _recomputing_vjp(step: StepFunction, phi: Tensor, slots: Slots, theta: Tensor) -> VJP:
    """Return a step's VJP that stores the state before the step and recomputes its graph."""
    return lambda cotangent: derivatives.vjp_of(step, phi, slots, theta)[1](cotangent)


def _unroll_in_segments(
    step_functions: Sequence[StepFunction], phi: Tensor, slots: Slots, theta: Tensor
) -> InnerIterates:
    """Run the inner steps, storing the state before every sqrt(K) / 2 steps only.

    For K < 16 this stores the state before every step. More elaborate schedules store less
    (Griewank & Walther, 2000, https://doi.org/10.1145/347837.347846).
    """
    length, vjps = max(math.isqrt(len(step_functions)) // 2, 1), []
    for start in range(0, len(step_functions), length):
        segment = _Segment(step_functions[start : start + length], phi, slots, theta)
        vjps += [functools.partial(segment.vjp, i) for i in range(len(segment.step_functions))]
        for step in segment.step_functions:
            phi, slots = step(phi, slots, theta)
    return InnerIterates(phi, slots, tuple(vjps), ((phi, slots),))


class _Segment:
    """Consecutive inner steps of which only the state before the first is stored."""

    def __init__(
        self, step_functions: Sequence[StepFunction], phi: Tensor, slots: Slots, theta: Tensor
    ) -> None:
        self.step_functions, self.theta = step_functions, theta
        self._states = [(phi, slots)]

    def vjp(self, i: int, cotangent: tuple[Tensor, Slots]) -> tuple[Tensor, Slots, Tensor]:
        """Backpropagate through step i, recomputing what is needed and freeing later states."""
        while len(self._states) <= i:
            step = self.step_functions[len(self._states) - 1]
            self._states.append(step(*self._states[-1], self.theta))
        del self._states[i + 1 :]
        _, vjp = derivatives.vjp_of(self.step_functions[i], *self._states[i], self.theta)
        cotangents: tuple[Tensor, Slots, Tensor] = vjp(cotangent)
        return cotangents


def inner_batch(problem: Problem, task: Task, k: int) -> Any:
    """Return the support examples of inner step k: its mini-batch, or the whole support set.

    Args:
        problem: a loss that samples has other random numbers in every step.
        task: one task.
        k: index of the step, from 0.
    """
    noise, support = task.noise, task.support
    if not isinstance(noise, tuple):
        support = tree_map(lambda leaf: leaf[noise[k]], support)
    return problem.sampling.at_step(support, k) if problem.sampling else support
