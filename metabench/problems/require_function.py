"""Refusing what is no function of phi, theta and a task: state, random numbers, other gradients."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from torch import Tensor

from metabench.problems.outside_gradients import refuse_outside_gradients
from metabench.problems.state_between_calls import refuse_state
from metabench.problems.tasks import Task, cast

if TYPE_CHECKING:
    from metabench.problems.problem import Problem


def require_function(problem: Problem, theta: Tensor, task: Task) -> None:
    """Refuse losses that depend on more than phi, theta and the task.

    Args:
        problem: may be extended by an algorithm.
        theta: meta-parameters, `(Q,)`.
        task: one task.

    Raises:
        InvalidInput: names what they depend on.
    """
    try:
        refuse_state(problem, theta, task)
    except (RuntimeError, TypeError, AttributeError):
        # tensors that are not registered keep the module's own dtype, which an error may be about
        _refuse_unregistered(problem, theta, task)
        raise
    refuse_outside_gradients(problem, theta, task)


def _refuse_unregistered(problem: Problem, theta: Tensor, task: Task) -> None:
    """Refuse gradients outside theta, in the dtype that the module has."""
    own = (problem.base or problem).theta
    if own is None or own.dtype == theta.dtype:
        return
    theta = theta.to(own.dtype)
    with contextlib.suppress(RuntimeError, TypeError, AttributeError):
        refuse_outside_gradients(problem, theta, cast(task, theta))
