"""Meta-gradients by plain autograd through the unroll, which share no code with metabench.

The reference of every row but those of imaml and bmaml: a loop of `torch.func.functional_call` and
`torch.autograd.grad(..., create_graph=True)` in float64.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from reports.what_runs.case import Loss

Named = Mapping[str, Tensor]
Call = Callable[[Named, Any], Tensor]  # parameters and a set (x, y) -> loss


@dataclass(frozen=True)
class Plan:
    """One algorithm: what adapts, at which rates, and which losses it differentiates."""

    steps: int
    rate: float
    adapted: Callable[[str], bool] = lambda name: True
    weights: tuple[float, ...] = ()  # of the query losses after each step; empty: the last alone


def loss_of(net: nn.Module, loss: Loss) -> Call:
    """Return the loss of a module as a function of its parameters."""

    def call(parameters: Named, data: Any) -> Tensor:
        x, y = data
        args, keywords = (() if isinstance(x, dict) else x if isinstance(x, tuple) else (x,)), {}
        if isinstance(x, dict):
            keywords = x
        return loss(functional_call(net, dict(parameters), args, keywords), y)

    return call


def unrolled(call: Call, theta: Named, support: Any, query: Any, plan: Plan) -> dict[str, Tensor]:
    """Return the gradient in every part of theta.

    Args:
        call: the loss.
        theta: parameters of the module, and parts that an algorithm learns beside them: `rate`,
            `rate.NAME` and `norm.NAME`.
        support: the set that the inner steps take.
        query: the set of the outer loss.
        plan: the algorithm.
    """
    leaves = {name: value.clone().requires_grad_() for name, value in theta.items()}
    phi = {name: leaf for name, leaf in leaves.items() if not _learned_beside(name)}
    weights = plan.weights or (0.0,) * (plan.steps - 1) + (1.0,)
    total = torch.zeros((), dtype=torch.float64)
    for k in range(plan.steps):
        moved = [name for name in phi if plan.adapted(name) and f"norm.{name}" not in leaves]
        value = call(_with_norms(phi, leaves, k), support)
        gradients = torch.autograd.grad(
            value, [phi[name] for name in moved], create_graph=True, materialize_grads=True
        )
        for name, gradient in zip(moved, gradients, strict=True):
            phi[name] = phi[name] - _rate(name, leaves, k, plan) * gradient
        if weights[k]:
            total = total + weights[k] * call(_with_norms(phi, leaves, k), query)
    found = torch.autograd.grad(total, list(leaves.values()), materialize_grads=True)
    return dict(zip(leaves, found, strict=True))


def _learned_beside(name: str) -> bool:
    return name == "rate" or name.startswith(("rate.", "norm.", "particle."))


def _with_norms(phi: Named, leaves: Named, k: int) -> Named:
    """Add the part of inner step k to each scale and shift that has one."""
    return {
        name: value + leaves[f"norm.{name}"][k] if f"norm.{name}" in leaves else value
        for name, value in phi.items()
    }


def _rate(name: str, leaves: Named, k: int, plan: Plan) -> Tensor | float:
    if "rate" in leaves:  # alpha_maml: one for all
        return leaves["rate"]
    rate = leaves.get(f"rate.{name}")
    if rate is None:
        return plan.rate
    steps_of_layer = (
        rate.shape == (plan.steps,) and plan.weights
    )  # mamlpp; meta_sgd has phi's shape
    return rate[k] if steps_of_layer else rate
