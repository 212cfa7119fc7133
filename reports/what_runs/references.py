"""The reference of each algorithm, and whether plain autograd can differentiate a module."""

from __future__ import annotations

from collections.abc import Callable
from fnmatch import fnmatchcase
from typing import Any

from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

import metabench as mb
from reports.what_runs.case import Case
from reports.what_runs.solved import chased, implicit
from reports.what_runs.unroll import Named, Plan, loss_of, unrolled

STEPS, RATE = 2, 0.1
STRENGTH, PARTICLES = 2.0, 3  # lambda of imaml, particles of bmaml
AGREES = 1e-10  # relative error of plain autograd that is right
SGD = mb.SGD(rate=RATE)
ALGORITHMS: dict[str, mb.Algorithm] = {
    "maml": mb.MAML(steps=STEPS, inner_optimizer=SGD),
    # the sixth of fifteen epochs, in which the losses of the two steps weigh 1/3 and 2/3
    "mamlpp": mb.MAMLPP(steps=STEPS, inner_optimizer=SGD, epoch=5),
    "meta_sgd": mb.MetaSGD(steps=STEPS, inner_optimizer=SGD),
    "anil": mb.ANIL(steps=STEPS, inner_optimizer=SGD),
    "alpha_maml": mb.AlphaMAML(steps=STEPS, inner_optimizer=SGD),
    "imaml": mb.IMAML(STEPS, SGD, proximal_strength=STRENGTH, solver=mb.Dense()),
    "bmaml": mb.BMAML(STEPS, SGD, particles=PARTICLES, spread=0.1),
}
WEIGHTS = {"mamlpp": (1 / 3, 2 / 3)}


def truth(algorithm: str, case: Case, theta: Named, support: Any, query: Any) -> dict[str, Tensor]:
    """Return the meta-gradient of one task by name, by an independent computation.

    Args:
        algorithm: its name.
        case: the module, its loss, and the head that adapts.
        theta: all that is learned, by name.
        support: the set of the inner loss.
        query: the set of the outer loss.
    """
    call = loss_of(case.reference(), case.reference_loss)
    with sdpa_kernel(SDPBackend.MATH):  # whose backward pass has derivatives
        if algorithm == "imaml":
            return implicit(call, theta, support, query, STEPS, RATE, STRENGTH)
        if algorithm == "bmaml":
            return chased(call, theta, support, query, STEPS, RATE, PARTICLES)
        return unrolled(call, theta, support, query, plan_of(algorithm, case))


def plan_of(algorithm: str, case: Case) -> Plan:
    """Return the unroll of an algorithm: `anil` adapts the head alone."""
    adapted: Callable[[str], bool] = lambda name: True  # ruff: ignore[lambda-assignment]
    if algorithm == "anil":
        adapted = lambda name: fnmatchcase(name, case.head)  # ruff: ignore[lambda-assignment]
    return Plan(STEPS, RATE, adapted, WEIGHTS.get(algorithm, ()))


def works_by_autograd(case: Case, support: Any, query: Any) -> str:
    """Return what plain autograd through the unroll makes of a module as its user has it.

    "right", "wrong", or the error that it raises.

    Args:
        case: the module and its loss.
        support: the set of the inner loss.
        query: the set of the outer loss.
    """
    net, plan = case.net().double(), Plan(STEPS, RATE)
    theta = {n: value.detach() for n, value in net.named_parameters() if value.requires_grad}
    try:
        expected = truth("maml", case, theta, support, query)
        found = unrolled(loss_of(net, case.loss_in_double), theta, support, query, plan)
    except Exception as error:
        return f"raises {type(error).__name__}"
    off = max(float((found[name] - expected[name]).abs().max()) for name in theta)
    largest = max(float(value.abs().max()) for value in expected.values())
    return "right" if off <= AGREES * largest else "wrong"
