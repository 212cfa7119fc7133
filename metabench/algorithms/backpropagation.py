"""The meta-gradient by unrolling the inner loop and backpropagating through it."""

from __future__ import annotations

from torch import Tensor

from metabench.algorithms.adapt import RECOMPUTE_EACH, Rates, adapt, backpropagate
from metabench.algorithms.base import Algorithm, MetaGrad, through_init
from metabench.autodiff import derivatives
from metabench.problems.problem import Problem
from metabench.problems.tasks import Task


def unrolled_meta_gradient(
    algorithm: Algorithm,
    problem: Problem,
    theta: Tensor,
    task: Task,
    rematerialize: str = RECOMPUTE_EACH,
    rates: Rates | None = None,
    truncate: int | None = None,
) -> MetaGrad:
    """Compute the exact meta-gradient `(Q,)`, or the one truncated to the last inner steps.

    Args:
        algorithm: gives the inner optimizer and the number of steps K.
        problem: the losses.
        theta: meta-parameters, `(Q,)`.
        task: one task.
        rematerialize: what is stored for the backward pass (see `adapt`).
        rates: learned factors of each step's update, if any.
        truncate: inner steps to backpropagate through, counted from the last; None: all.

    Returns:
        The meta-gradient, with |v_k|, k = 0 .. K, as the note `norms`.
    """
    iterates = adapt(
        algorithm.inner_optimizer, algorithm.steps, problem, theta, task, rematerialize, rates
    )
    loss, v, direct = derivatives.value_and_gradients(
        problem.outer_loss, iterates.last, theta, task.query
    )
    if truncate is not None:
        kept = iterates.vjps[max(len(iterates.vjps) - truncate, 0) :]
        iterates = iterates._replace(vjps=kept)
    adjoint = backpropagate(iterates, theta, v)
    grad = through_init(problem, theta, adjoint.phi) + adjoint.theta + direct
    return MetaGrad(grad, loss, iterates.last, {"norms": adjoint.norms})
