"""The meta-gradient through the inner loop: forwards, the query loss, and all the way back."""

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
    back: int | None = None,
) -> MetaGrad:
    """Give the exact meta-gradient `(Q,)`, or that through the last `back` inner steps alone."""
    path = adapt(
        algorithm.inner_optimizer, algorithm.steps, problem, theta, task, rematerialize, rates
    )
    loss, v, direct = derivatives.value_and_gradients(
        problem.outer_loss, path.last, theta, task.query
    )
    if back is not None:
        path = path._replace(vjps=path.vjps[max(len(path.vjps) - back, 0) :])
    adjoint = backpropagate(path, theta, v)
    grad = through_init(problem, theta, adjoint.phi) + adjoint.theta + direct
    return MetaGrad(grad, loss, path.last, {"norms": adjoint.norms})
