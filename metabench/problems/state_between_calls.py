"""Refusing a module whose output depends on how often it was called."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor

from metabench.problems.networks.module_call import ModuleCall
from metabench.problems.tasks import Task
from metabench.settings.errors import InvalidInput

if TYPE_CHECKING:
    from metabench.problems.problem import Problem

MOST_NAMED = 3  # buffers and attributes in a message


def call_of(problem: Problem, theta: Tensor, task: Task) -> ModuleCall | None:
    """Return what a call of the problem's module on the support set shows; None without a module.

    Args:
        problem: may be extended by an algorithm.
        theta: meta-parameters, `(Q,)`.
        task: one task.
    """
    base = problem.base or problem
    if base.examine is None:
        return None
    start = theta.detach()[: base.layouts.theta.size]
    return base.examine(base.init(start).detach(), start, task.support)


def refuse_state(problem: Problem, theta: Tensor, task: Task) -> None:
    """Refuse a module that changes between calls, and its output with it.

    Args:
        problem: may be extended by an algorithm.
        theta: meta-parameters, `(Q,)`.
        task: one task.

    Raises:
        InvalidInput: names the buffers and attributes.
    """
    call = call_of(problem, theta, task)
    if call is None:
        return
    if call.written:
        raise InvalidInput(
            f"The loss reads {', '.join(call.written[:MOST_NAMED])} of the module, which its "
            "forward assigns; it reads the original, but a copy is called. Return it from forward, "
            "as in return output, extra, and take it from the prediction in the loss."
        )
    if not call.changed:
        return
    more = len(call.changed) - MOST_NAMED
    named = ", ".join(call.changed[:MOST_NAMED]) + (f" and {more} more" if more > 0 else "")
    raise InvalidInput(
        f"The module changes {named} between calls, so its output changes, too, and the "
        "meta-gradient would depend on how often an algorithm calls it. Call net.eval() before "
        "from_module if that stops it (as for spectral norm), set the state at the start of "
        "forward, pass it as part of x, or, where the first call alone sets it, call the module "
        "once before from_module."
    )
