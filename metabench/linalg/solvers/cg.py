"""Conjugate gradients, for positive definite matrices."""

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

    In exact arithmetic, exact after as many steps as A has distinct eigenvalues. Returns the
    iterate of least residual. Stops at relative residual `tol`, and at a direction with
    :math:`p^\top A p \le 0`: A is then not positive definite, and `curvature` is not positive.
    (Hestenes & Stiefel, 1952, https://doi.org/10.6028/jres.049.044).

    >>> import metabench as mb
    >>> import torch
    >>> A = torch.tensor([[2.0, 0.0], [0.0, 5.0]])
    >>> mb.CG(steps=2)(lambda v: A @ v, torch.tensor([2.0, 5.0])).x.round(decimals=4)
    tensor([1., 1.])
    """

    steps: int = 10  # maximum products with the matrix [products]
    tol: float = 1e-12  # relative residual at which it stops [1]

    def __post_init__(self) -> None:
        """Validate steps >= 1 and a tolerance below 1."""
        if self.steps < 1:
            raise InvalidInput(f"steps is {self.steps}; CG needs at least 1 step.")
        check_below_one(tol=self.tol)

    def __call__(self, matvec: Matvec, b: Tensor) -> Solve:
        """Solve A x = b, `(P,)`, in a loop of fixed length."""
        return conjugate_gradients(matvec, b, self.steps, self.tol)


def conjugate_gradients(
    matvec: Matvec, b: Tensor, steps: int, tol: float, precondition: Matvec | None = None
) -> Solve:
    """Solve A x = b, `(P,)`, by preconditioned conjugate gradients.

    Args:
        matvec: the product with A.
        b: right-hand side, `(P,)`.
        steps: most products with A.
        tol: relative residual at which it stops.
        precondition: product with a symmetric approximation of A^-1; None: the identity.
    """
    approximate_inverse = precondition or (lambda r: r)
    size = b.abs().max()
    unit = b / torch.where(size > 0, size, 1)  # squares of b itself may under- or overflow
    state = _start(unit, approximate_inverse)
    first = state.square
    history = [first]
    for _ in range(steps):
        state = _advance(state, matvec, tol**2 * first, approximate_inverse)
        history.append(state.square)
    relative = (torch.stack(history) / torch.where(first > 0, first, 1)).sqrt()
    residual = relative_residual(matvec, state.best, unit)
    # a matrix or b that is not finite must not give the solution 0
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
    going: Tensor  # False: stopped
    steps: Tensor
    curvature: Tensor


def _start(b: Tensor, approximate_inverse: Matvec) -> _State:
    zero, square, z = torch.zeros_like(b), b @ b, approximate_inverse(b)
    none, unseen = torch.zeros_like(square), torch.full_like(square, math.inf)
    return _State(zero, b, z, square, b @ z, zero, square, square > 0, none, unseen)


def _advance(at: _State, matvec: Matvec, enough: Tensor, approximate_inverse: Matvec) -> _State:
    """Take one step unless x has converged or the curvature is not positive."""
    Ap = matvec(at.p)
    bend = at.p @ Ap
    rayleigh = torch.minimum(at.curvature, bend / (at.p @ at.p))
    curvature = torch.where(at.going, rayleigh, at.curvature)
    going = at.going & (bend > 0)
    length = torch.where(going, at.along / bend, 0)
    x, r = at.x + length * at.p, torch.where(going, at.r - length * Ap, at.r)
    square, z = r @ r, approximate_inverse(r)
    along = r @ z
    p = torch.where(going, z + along / at.along * at.p, at.p)
    better = square < at.least
    best, least = torch.where(better, x, at.best), torch.minimum(square, at.least)
    going, steps = going & (square > enough), at.steps + at.going
    return _State(x, r, p, square, along, best, least, going, steps, curvature)
