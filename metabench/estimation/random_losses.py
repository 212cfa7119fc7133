"""Losses that draw random numbers, whose gradients differ from call to call."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from metabench.autodiff.operation_counts import name_of
from metabench.autodiff.operation_watch import OperationWatch, is_random
from metabench.problems.problem import Problem
from metabench.problems.tasks import Task


def raise_if_random(problem: Problem, theta: Tensor, task: Task) -> None:
    """Raise RuntimeError, where it happens, if two calls of the inner loss draw other numbers.

    A recomputed inner step would then take another loss, as dropout in training mode does. Numbers
    from a generator that each call seeds anew are no fault.

    Args:
        problem: gives the inner loss.
        theta: meta-parameters, `(Q,)`.
        task: one task.

    Raises:
        RuntimeError: "random operation", with the name of the first one.
    """
    phi, seen = problem.init(theta), []

    def note(operation: Any, args: Sequence[Any], kwargs: Mapping[str, Any], out: Any) -> None:
        if is_random(operation):
            seen.append(name_of(operation))

    def stop(operation: Any, args: Sequence[Any], kwargs: Mapping[str, Any], out: Any) -> None:
        if is_random(operation):
            raise RuntimeError(f"random operation {name_of(operation)}")

    with torch.no_grad():
        with OperationWatch(note):
            first = problem.inner_loss(phi, theta, task.support)
        if not seen or torch.equal(first, problem.inner_loss(phi, theta, task.support)):
            return
        with OperationWatch(stop):
            problem.inner_loss(phi, theta, task.support)


def random_sentence(error: Exception) -> str:
    """Return what a random operation in the inner loop does, and what to change."""
    operation = str(error).partition("random operation ")[2].partition(" ")[0]
    name = f" ({operation})" if operation and operation != "while" else ""
    return (
        f"The model draws random numbers in the inner loop{name}, and different ones when a step "
        "is recomputed, as dropout does in training mode, also where it is a number passed to a "
        "function. Call net.eval(), set the share to 0, or draw the numbers in the sampler."
    )
