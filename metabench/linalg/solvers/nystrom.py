"""Nystrom sketch: a low-rank inverse, or a preconditioner of conjugate gradients."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from metabench.linalg.solvers.cg import conjugate_gradients
from metabench.linalg.solvers.solver import Matvec, Solve, Solver, relative_residual
from metabench.settings.errors import InvalidInput, check_below_one


@dataclass(frozen=True)
class Nystrom(Solver):
    r"""Inverse of a Nystrom sketch plus damping, refined by preconditioned CG.

    :math:`A - \rho I \approx Y (\Omega^\top Y)^{-1} Y^\top` with :math:`Y = (A - \rho I) \Omega`
    for `rank` random directions; the sketch plus :math:`\rho I` is inverted by its eigenvectors.
    Exact if the rank of :math:`A - \rho I` is at most `rank`; for imaml, rho is its
    proximal_strength. `steps` of conjugate gradients follow, preconditioned with the sketch
    (Frangella, Tropp & Udell, 2023).
    (Hataya & Yamada, 2023, https://arxiv.org/abs/2302.09726).

    >>> import metabench as mb
    >>> import torch
    >>> A = torch.diag(torch.tensor([9.0, 4.0, 1.0, 1.0]))  # the identity plus rank 2
    >>> solver = mb.Nystrom(rank=2, damping=1.0, steps=0)
    >>> solver(lambda v: A @ v, torch.tensor([9.0, 4.0, 1.0, 1.0])).x.round(decimals=3)
    tensor([1., 1., 1., 1.])
    """

    rank: int = 10  # random directions, one product each [products]
    damping: float = 0.0  # rho, a known multiple of the identity in A; 0: unknown [curvature]
    steps: int = 10  # CG steps after the sketch; 0: the sketch's inverse only [products]
    tol: float = 1e-12  # relative residual at which it stops [1]
    seed: int = 0  # of the random directions [seed]

    def __post_init__(self) -> None:
        """Validate rank >= 1, steps >= 0, seed >= 0, damping and tolerance."""
        if self.rank < 1:
            raise InvalidInput(f"rank is {self.rank}; the sketch needs at least 1 direction.")
        if self.steps < 0:
            raise InvalidInput(f"steps is {self.steps}; give 0 or more.")
        if not 0 <= self.damping < math.inf:
            raise InvalidInput(f"damping is {self.damping}; it must be finite and not negative.")
        if self.seed < 0:
            raise InvalidInput(f"seed is {self.seed}; give 0 or more.")
        check_below_one(tol=self.tol)

    def __call__(self, matvec: Matvec, b: Tensor) -> Solve:
        """Solve A x = b, `(P,)`."""
        rank = min(self.rank, len(b))
        sketch = self._sketch(matvec, b, rank)
        if self.steps:
            found = conjugate_gradients(matvec, b, self.steps, self.tol, sketch.inverse)
            least = torch.minimum(found.curvature, sketch.least)
        else:
            x = torch.where(b.any(), sketch.inverse(b), 0)
            residual = relative_residual(matvec, x, b)
            history = torch.stack([b.any().to(b.dtype), residual])
            found = Solve(x, residual, torch.zeros_like(residual), history, sketch.least)
            least = sketch.least
        x = torch.where(sketch.finite, found.x, torch.nan)
        return found._replace(x=x, steps=found.steps + rank, curvature=least)

    def _sketch(self, matvec: Matvec, b: Tensor, rank: int) -> _Sketch:
        # numpy draws: torch's random numbers fail under vmap; all tasks share the directions
        drawn = np.random.default_rng(self.seed).standard_normal((len(b), rank))
        omega = torch.from_numpy(np.linalg.qr(drawn)[0]).to(b)
        Y = torch.stack([matvec(column) for column in omega.T], -1) - self.damping * omega
        finite = torch.isfinite(Y).all()
        Y = torch.where(finite, Y, 0)  # LAPACK refuses NaN
        inner = omega.T @ Y
        values, vectors = torch.linalg.eigh((inner + inner.T) / 2)
        # directions without positive curvature are left to the damping
        cut = rank * torch.finfo(b.dtype).eps * values.abs().max()
        kept = values > cut
        root = torch.where(kept, values, 1).rsqrt() * kept
        U, sizes, _ = torch.linalg.svd((Y @ vectors) * root, full_matrices=False)
        top = sizes**2 + self.damping
        seen = sizes**2 > cut
        tail = torch.full_like(cut, self.damping)
        if self.damping == 0:  # then use the smallest eigenvalue found
            tail = torch.where(seen, top, math.inf).min()
            tail = torch.where(torch.isfinite(tail), tail, 1)
        gains = torch.where(seen, 1 / torch.where(seen, top, 1) - 1 / tail, 0)
        return _Sketch(U, gains, 1 / tail, values[0] + self.damping, finite)


class _Sketch(NamedTuple):
    U: Tensor  # eigenvectors, (P, rank)
    gains: Tensor  # their inverse eigenvalues minus that of the rest, (rank,)
    rest: Tensor  # inverse eigenvalue of all other directions, ()
    least: Tensor  # smallest curvature in the span of the random directions, ()
    finite: Tensor  # whether all products were, ()

    def inverse(self, v: Tensor) -> Tensor:
        """Apply the sketch's inverse to `(P,)`."""
        return self.rest * v + self.U @ (self.gains * (self.U.T @ v))
