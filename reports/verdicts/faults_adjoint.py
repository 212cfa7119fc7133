"""Faults in a hand-written adjoint recursion, v_k = v_{k+1} - rate H_k v_{k+1}."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor
from torch.func import grad, hessian

import metabench as mb
from reports.verdicts.cases import Fault, Loop, Theta


class Step(NamedTuple):
    """What the recursion knows of one step."""

    H: Tensor  # (Q, Q), of the support loss at phi_k
    query: Callable[[], Tensor]  # (Q, Q), of the query loss there
    first: Tensor  # (Q, Q), of the support loss at phi_0
    k: int
    slopes: Tensor  # (Q,), the inner gradient


def adjoint(
    turn: Callable[[Tensor, Step, float], Tensor], loop: Loop, reverse: bool = True
) -> mb.Subject:
    """Go through the recursion with one line changed; the loss is the right one.

    Args:
        turn: v_k of v_{k+1}, the step and the rate.
        loop: the inner loop.
        reverse: from the last step to the first.
    """

    def flat(theta: Theta) -> Tensor:
        return torch.cat([v.ravel() for v in theta.values()])

    def estimate(theta: Theta, task: mb.Task) -> tuple[Tensor, Tensor]:
        sizes = [v.numel() for v in theta.values()]

        def named(at: Tensor) -> Theta:
            parts = zip(theta, torch.split(at, sizes), strict=True)
            return {n: part.view_as(theta[n]) for n, part in parts}

        def support(at: Tensor) -> Tensor:
            return loop.loss(named(at), task.support)

        def query(at: Tensor) -> Tensor:
            return loop.loss(named(at), task.query)

        phi, steps = flat(theta), list[Step]()
        for k in range(loop.steps):
            slopes = grad(support)(phi)
            H = hessian(support)(phi)
            query_Hessian = partial(hessian(query), phi)
            steps.append(Step(H, query_Hessian, steps[0].H if k else H, k, slopes))
            phi = phi - loop.rate * slopes
        v = grad(query)(phi)
        for step in reversed(steps) if reverse else steps:
            v = turn(v, step, loop.rate)
        return query(phi), v

    return loop.subject(estimate, declared=True)


def right(v: Tensor, step: Step, rate: float) -> Tensor:
    """Return v - rate H v."""
    return v - rate * step.H @ v


def rank_one(v: Tensor, step: Step, rate: float) -> Tensor:
    """Return the product with the outer product of the gradient for the Hessian."""
    return v - rate * step.slopes * (step.slopes @ v)


def positive(v: Tensor, step: Step, rate: float) -> Tensor:
    """Return the product with the Hessian whose negative eigenvalues are taken positive."""
    values, vectors = torch.linalg.eigh(step.H)
    made: Tensor = vectors @ (values.abs() * (vectors.T @ v))
    return v - rate * made


def made(
    name: str, turn: Callable[[Tensor, Step, float], Tensor], *causes: str, reverse: bool = True
) -> Fault:
    """Return the fault of a changed recursion.

    Args:
        name: in the table.
        turn: v_k of v_{k+1}, the step and the rate.
        causes: words of equivalent causes.
        reverse: from the last step to the first.
    """
    return Fault(name, causes, lambda seed: adjoint(turn, Loop(seed, steps=2), reverse))


SECOND = ("second-order",)
FAULTS = (
    made("adjoint: sign of the Hessian", lambda v, s, a: v + a * s.H @ v, *SECOND),
    made("adjoint: Hessian counted twice", lambda v, s, a: v - 2 * a * s.H @ v, *SECOND),
    made("adjoint: Hessian of the query set", lambda v, s, a: v - a * s.query() @ v, *SECOND),
    made("adjoint: Hessian frozen at phi_0", lambda v, s, a: v - a * s.first @ v, *SECOND),
    made("adjoint: diagonal of the Hessian", lambda v, s, a: v - a * s.H.diag() * v, *SECOND),
    made("adjoint: Hessian made positive", positive, *SECOND),
    made("adjoint: outer product for the Hessian", rank_one, *SECOND),
    made("adjoint: steps in the wrong order", right, *SECOND, reverse=False),
    made("adjoint: first step left out", lambda v, s, a: right(v, s, a) if s.k else v, *SECOND),
    made("adjoint: inverse for the product",
         lambda v, s, a: torch.linalg.solve(torch.eye(len(v)).to(v) + a * s.H, v), *SECOND),
    made("adjoint: damped Hessian", lambda v, s, a: v - a * (s.H @ v + 0.1 * v), *SECOND),
)  # fmt: skip
