"""The whole matrix, written out: the reference for small problems."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from metabench.linalg.solvers.solver import Matvec, Solve, Solver, relative_residual
from metabench.settings.errors import InvalidInput

ROUNDINGS = 10  # an eigenvalue of so many roundings of the largest is zero


@dataclass(frozen=True)
class Dense(Solver):
    """Exact solve of the dense matrix through its eigenvalues, for small problems.

    The matrix is built column by column, P products and P^2 numbers a task, and is taken to be
    symmetric. `curvature` is its smallest eigenvalue; one that is singular to round-off gives
    what isn't finite.
    (Golub & Van Loan, 2013, https://doi.org/10.56021/9781421407944), section 8.
    """

    limit: int = 3000  # most parameters, since the matrix holds their square [parameters]

    def __call__(self, matvec: Matvec, b: Tensor) -> Solve:
        """Solve A x = b, `(P,)`.

        Raises:
            InvalidInput: if there are more parameters than `limit`.
        """
        P = len(b)
        if self.limit < P:
            raise InvalidInput(
                f"The dense solver was given {P} parameters, {P * P:.1e} numbers a task, and stops "
                f"at {self.limit}; use the solver cg, or raise limit."
            )
        A = torch.stack([matvec(column) for column in torch.eye(P).to(b.device, b.dtype)], -1)
        finite = torch.isfinite(A).all()
        values, vectors = torch.linalg.eigh(torch.where(finite, A, 0))  # LAPACK refuses NaN
        # an eigenvalue of round-off is zero: by it, x would be any of many answers, or none
        nothing = values.abs() <= ROUNDINGS * torch.finfo(b.dtype).eps * values.abs().max()
        x = vectors @ ((vectors.T @ b) / torch.where(nothing, 0, values))
        x = torch.where(b.any(), torch.where(finite, x, torch.nan), 0)
        residual = relative_residual(matvec, x, b)
        least = torch.where(finite, values[0], torch.nan)
        history = torch.stack([b.any().to(b.dtype), residual])
        return Solve(x, residual, torch.full_like(residual, P), history, least)
