"""Conjugate gradients: the implicit meta-gradient for a few products with the Hessian."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from metabench.linalg.solvers.solver import Matvec, Solve, Solver, relative_residual
from metabench.settings.errors import InvalidInput, check_below_one


@dataclass(frozen=True)
class CG(Solver):
    r"""Conjugate gradients for a symmetric positive definite matrix, from x = 0.

    Exact after as many steps as A has distinct eigenvalues, in exact arithmetic. The iterate of
    least residual is kept. What reached `tol` stands still, and so does what met a direction with
    :math:`p^\top A p \le 0`: A is then not positive definite, and `curvature` says so.
    (Hestenes & Stiefel, 1952, https://doi.org/10.6028/jres.049.044).
    """

    steps: int = 10  # most products with the matrix [products]
    tol: float = 1e-12  # relative residual at which x stands still [1]

    def __post_init__(self) -> None:
        """Refuse a solve without steps and a tolerance that nothing reaches."""
        if self.steps < 1:
            raise InvalidInput(f"steps is {self.steps}; CG needs at least 1 step.")
        check_below_one(tol=self.tol)

    def __call__(self, matvec: Matvec, b: Tensor) -> Solve:
        """Solve A x = b, `(P,)`, in a loop of fixed length."""
        return conjugate_gradients(matvec, b, self.steps, self.tol)


def conjugate_gradients(
    matvec: Matvec, b: Tensor, steps: int, tol: float, precondition: Matvec | None = None
) -> Solve:
    """Solve A x = b, `(P,)`, by steps that are conjugate after a symmetric map close to A^-1."""
    near = precondition or (lambda r: r)
    size = b.abs().max()
    unit = b / torch.where(size > 0, size, 1)  # squares of b itself may under- or overflow
    state = _start(unit, near)
    first = state.square
    history = [first]
    for _ in range(steps):
        state = _advance(state, matvec, tol**2 * first, near)
        history.append(state.square)
    relative = (torch.stack(history) / torch.where(first > 0, first, 1)).sqrt()
    residual = relative_residual(matvec, state.best, unit)
    # a matrix or b that isn't finite must not pass for the answer 0
    x = torch.where(torch.isfinite(residual), size * state.best, torch.nan)
    return Solve(x, residual, state.steps, relative, state.curvature)


class _State(NamedTuple):
    x: Tensor
    r: Tensor  # b - A x, by recursion
    p: Tensor  # search direction
    square: Tensor  # |r|^2
    along: Tensor  # r^T M r, M the preconditioner
    best: Tensor  # x of least |r|
    least: Tensor  # its |r|^2
    going: Tensor  # False: stands still
    steps: Tensor
    curvature: Tensor


def _start(b: Tensor, near: Matvec) -> _State:
    zero, square, z = torch.zeros_like(b), b @ b, near(b)
    none, unseen = torch.zeros_like(square), torch.full_like(square, math.inf)
    return _State(zero, b, z, square, b @ z, zero, square, square > 0, none, unseen)


def _advance(at: _State, matvec: Matvec, enough: Tensor, near: Matvec) -> _State:
    """Take one step, or stand still: where x has converged, and from a direction A bends down."""
    Ap = matvec(at.p)
    bend = at.p @ Ap
    rayleigh = torch.minimum(at.curvature, bend / (at.p @ at.p))
    curvature = torch.where(at.going, rayleigh, at.curvature)
    going = at.going & (bend > 0)
    length = torch.where(going, at.along / bend, 0)
    x, r = at.x + length * at.p, torch.where(going, at.r - length * Ap, at.r)
    square, z = r @ r, near(r)
    along = r @ z
    p = torch.where(going, z + along / at.along * at.p, at.p)
    better = square < at.least
    best, least = torch.where(better, x, at.best), torch.minimum(square, at.least)
    going, steps = going & (square > enough), at.steps + at.going
    return _State(x, r, p, square, along, best, least, going, steps, curvature)
