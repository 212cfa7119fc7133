"""MINRES: minimal residual in a Krylov space, also for indefinite matrices."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from metabench.linalg.solvers.solver import Matvec, Solve, Solver, relative_residual
from metabench.settings.errors import InvalidInput, check_below_one

ZERO_ROUNDINGS = 100  # a pivot below so many roundings of the matrix is zero


@dataclass(frozen=True)
class MINRES(Solver):
    r"""Minimal residual method for a symmetric matrix, definite, indefinite or singular.

    Lanczos and one Givens rotation per step; the residual never increases. It also solves the
    linear system at a saddle, where CG stops; x is then not the implicit gradient at a minimum, and
    `curvature`, the smallest Ritz value, is negative. For a consistent singular system it finds the
    solution of least norm.
    (Paige & Saunders, 1975, https://doi.org/10.1137/0712047).

    >>> import metabench as mb
    >>> import torch
    >>> A = torch.tensor([[2.0, 0.0], [0.0, -5.0]])
    >>> found = mb.MINRES(steps=2)(lambda v: A @ v, torch.tensor([2.0, 5.0]))
    >>> found.x.round(decimals=4), bool(found.curvature < 0)
    (tensor([ 1., -1.]), True)
    """

    steps: int = 10  # maximum products with the matrix [products]
    tol: float = 1e-12  # relative residual at which it stops [1]

    def __post_init__(self) -> None:
        """Validate steps >= 1 and a tolerance below 1."""
        if self.steps < 1:
            raise InvalidInput(f"steps is {self.steps}; MINRES needs at least 1 step.")
        check_below_one(tol=self.tol)

    def __call__(self, matvec: Matvec, b: Tensor) -> Solve:
        """Solve A x = b, `(P,)`, in a loop of fixed length."""
        largest = b.abs().max()
        unit = b / torch.where(largest > 0, largest, 1)
        state = _start(unit)
        first = state.residual
        history, diagonal, off = [first], [], []
        for _ in range(self.steps):
            was = state.going
            state, alpha, beta = _advance(state, matvec, self.tol * first)
            history.append(state.residual)
            diagonal.append(torch.where(was, alpha, torch.nan))
            off.append(torch.where(state.going, beta, 0))
        relative = torch.stack(history) / torch.where(first > 0, first, 1)
        residual = relative_residual(matvec, state.x, unit)
        x = torch.where(torch.isfinite(residual), largest * state.x, torch.nan)
        return Solve(x, residual, state.steps, relative, _least_ritz(diagonal, off))


class _State(NamedTuple):
    x: Tensor
    v: Tensor  # Lanczos vector, of norm 1
    before: Tensor  # the one before
    beta: Tensor  # couples the two
    d: Tensor  # last update direction, and the one before
    d_before: Tensor
    cos: Tensor  # last Givens rotation, and the one before
    sin: Tensor
    cos_before: Tensor
    sin_before: Tensor
    rest: Tensor  # remaining right-hand side, signed
    residual: Tensor  # |rest|
    size: Tensor  # estimate of the norm of the matrix
    going: Tensor  # False: stopped
    steps: Tensor


def _start(b: Tensor) -> _State:
    size = b.norm()
    one, none, zero = torch.ones_like(size), torch.zeros_like(size), torch.zeros_like(b)
    v = b / torch.where(size > 0, size, 1)
    return _State(
        zero, v, zero, none, zero, zero, one, none, one, none, size, size, none, size > 0, none
    )  # fmt: skip


def _advance(at: _State, matvec: Matvec, enough: Tensor) -> tuple[_State, Tensor, Tensor]:
    """Add a column to the tridiagonal matrix, make it upper triangular, and update x."""
    p = matvec(at.v) - at.beta * at.before
    alpha = at.v @ p
    p = p - alpha * at.v
    beta = p.norm()
    # the new column (beta_k, alpha, beta) after the two rotations before it, and its own
    far, near = at.sin_before * at.beta, at.cos_before * at.beta
    middle, corner = at.cos * near + at.sin * alpha, at.cos * alpha - at.sin * near
    pivot = torch.hypot(corner, beta)
    size = torch.maximum(at.size, alpha.abs() + beta)
    # a pivot within round-off: the matrix is singular and the residual minimal
    moves = at.going & ~(pivot <= ZERO_ROUNDINGS * torch.finfo(pivot.dtype).eps * size)
    safe = torch.where(moves, pivot, 1)
    cos, sin = corner / safe, beta / safe
    d = (at.v - middle * at.d - far * at.d_before) / safe
    rest = -sin * at.rest
    done = (rest.abs() <= enough) | (beta == 0)
    moved = _State(
        at.x + cos * at.rest * d, p / torch.where(beta > 0, beta, 1), at.v, beta, d, at.d,
        cos, sin, at.cos, at.sin, rest, rest.abs(), size, moves & ~done, at.steps,
    )  # fmt: skip
    kept = _State(*(torch.where(moves, new, old) for new, old in zip(moved, at, strict=True)))
    kept = kept._replace(going=moved.going, steps=at.steps + at.going)
    return kept, alpha, beta


def _least_ritz(diagonal: list[Tensor], off: list[Tensor]) -> Tensor:
    """Return the smallest eigenvalue of the tridiagonal matrix of the columns computed."""
    alpha, beta = torch.stack(diagonal), torch.stack(off[:-1]) if len(off) > 1 else None
    taken = ~alpha.isnan()
    largest = torch.where(taken, alpha, -math.inf).max()
    known = torch.isfinite(largest)
    T = torch.diag(torch.where(taken, alpha, torch.where(known, largest, 0)))
    if beta is not None:
        T = T + torch.diag(beta, 1) + torch.diag(beta, -1)
    finite = torch.isfinite(T).all() & known
    least = torch.linalg.eigvalsh(torch.where(finite, T, 0))[0]
    return torch.where(finite, least, torch.where(taken.any(), torch.nan, math.inf))
