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
    """Refuse a module or loss that is no function of its parameters and the task.

    Args:
        problem: may be extended by an algorithm.
        theta: meta-parameters, `(Q,)`.
        task: one task.

    Raises:
        InvalidInput: names the buffers, attributes and parameters, or the random numbers.
    """
    call = call_of(problem, theta, task)
    if call is None:
        return
    for found, sentence in (
        (call.rewritten, REWRITTEN),
        (call.switched, SWITCHED),
        (call.written, READ),
        (call.changed, CHANGED),
    ):
        if found:
            raise InvalidInput(sentence.format(_listed(found)))
    if call.varies:
        raise InvalidInput(_varying(call.varies, call.generator))


def _varying(what: str, generator: str) -> str:
    """Return the sentence on a module or loss whose value changes from call to call.

    Args:
        what: "module" or "loss".
        generator: whose random numbers it draws, "" if that is unknown.
    """
    if generator:
        return (
            f"The {what} draws random numbers ({generator}), so every call gives another value, "
            "and a recomputed inner step is another step. Draw them in the sampler, as part of x "
            "or y, or call net.eval() if that stops it."
        )
    return (
        f"The {what} gives another value when it is called again with the same parameters and "
        "data, though no buffer or attribute was assigned: it draws random numbers from a "
        "generator of its own, or depends on the time, an iterator or a counter. Draw numbers in "
        "the sampler, as part of x or y, or call net.eval() if that stops it."
    )


def _listed(names: tuple[str, ...]) -> str:
    more = len(names) - MOST_NAMED
    return ", ".join(names[:MOST_NAMED]) + (f" and {more} more" if more > 0 else "")


READ = (
    "The loss reads {} of the module, which its forward assigns; it reads the original, but a copy "
    "is called. Return it from forward, as in return output, extra, and take it from the "
    "prediction in the loss."
)
CHANGED = (
    "The module changes {} between calls, so its output changes, too, and the meta-gradient would "
    "depend on how often an algorithm calls it. Call net.eval() before from_module if that stops "
    "it (as for spectral norm), set the state at the start of forward, pass it as part of x, or, "
    "where the first call alone sets it, call the module once before from_module."
)
REWRITTEN = (
    "The module's forward changes {} in place, which are adapted or learned: the gradient would be "
    "taken at other values than those of the inner step. Compute what is used in forward, as in "
    "weight = self.weight.clamp(-1, 1), or give the module a parametrization "
    "(torch.nn.utils.parametrize)."
)
SWITCHED = (
    "The module's forward switches {} between training and evaluation. Batch norms and dropout are "
    "prepared before the inner loop: call .eval() or .train() on them before from_module, and not "
    "in forward."
)
