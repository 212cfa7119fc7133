"""Conjugate gradients as two libraries had them, and mended: solvers of implicit MAML.

metabench verify --algo imaml --set algo.solver=reports/bugs_of_history/solvers.py:OldResidual
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from metabench.linalg.solvers.solver import Matvec, Solve, Solver


@dataclass(frozen=True)
class OldResidual(Solver):
    """The next direction starts from the old residual, so directions are not conjugate."""

    steps: int = 12  # products with the matrix [products]

    def __call__(self, matvec: Matvec, b: Tensor) -> Solve:
        """Solve A x = b, `(P,)`."""
        x, r, p = torch.zeros_like(b), b, b
        for _ in range(self.steps):
            Ap = matvec(p)
            length = _ratio(r @ r, p @ Ap)
            x, new = x + length * p, r - length * Ap
            p = self._base(r, new) + _ratio(new @ new, r @ r) * p
            r = new
        return _solve(x, r, b, self.steps)

    def _base(self, old: Tensor, new: Tensor) -> Tensor:
        return old  # the fault


@dataclass(frozen=True)
class NewResidual(OldResidual):
    """The mended solver: the next direction starts from the new residual."""

    def _base(self, old: Tensor, new: Tensor) -> Tensor:
        return new


@dataclass(frozen=True)
class OneBehind(Solver):
    """At convergence the loop ends before the new iterate is kept, and returns the one before."""

    steps: int = 12  # most products with the matrix [products]
    keep: bool = False  # whether the last iterate is kept, as it should be

    def __call__(self, matvec: Matvec, b: Tensor) -> Solve:
        """Solve A x = b, `(P,)`, and report the residual of the last iterate."""
        kept, r, p = torch.zeros_like(b), b, b
        left, going = b, b.norm() > 0
        for _ in range(self.steps):
            Ap = matvec(p)
            length = _ratio(r @ r, p @ Ap)
            x, new = kept + length * p, r - length * Ap
            left = torch.where(going, new, left)
            more = going & (new.norm() > 1e-5 * b.norm())
            kept = torch.where(going if self.keep else more, x, kept)  # the fault: `more`
            p, r, going = new + _ratio(new @ new, r @ r) * p, new, more
        return _solve(kept, left, b, self.steps)


@dataclass(frozen=True)
class LastIterate(OneBehind):
    """The mended solver: the last iterate is returned."""

    keep: bool = True  # whether the last iterate is kept, as it should be


def _ratio(above: Tensor, below: Tensor) -> Tensor:
    return torch.where(below > 0, above / below, 0)


def _solve(x: Tensor, r: Tensor, b: Tensor, steps: int) -> Solve:
    """Report what the recursion believes: its own residual `r`, `(P,)`."""
    relative = _ratio(r.norm(), b.norm())
    one = torch.ones_like(relative)
    return Solve(x, relative, steps * one, relative[None], one)
