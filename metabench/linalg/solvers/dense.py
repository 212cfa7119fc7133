"""The dense solver: the reference for small problems."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from metabench.linalg.solvers.solver import Matvec, Solve, Solver, relative_residual
from metabench.settings.errors import InvalidInput

ZERO_ROUNDINGS = 10  # an eigenvalue below so many roundings of the largest is zero


@dataclass(frozen=True)
class Dense(Solver):
    """Exact solve with the eigenvalues of the dense matrix, for small problems.

    The matrix is computed column by column, P products and P^2 numbers per task, and is assumed
    symmetric. `curvature` is its smallest eigenvalue. For a matrix that is singular to round-off, x
    is not finite.
    (Golub & Van Loan, 2013, https://doi.org/10.56021/9781421407944), section 8.

    >>> import metabench as mb
    >>> import torch
    >>> A = torch.tensor([[2.0, 0.0], [0.0, -5.0]])
    >>> mb.Dense()(lambda v: A @ v, torch.tensor([2.0, 5.0])).curvature
    tensor(-5.)
    """

    limit: int = 3000  # maximum number of parameters P; the matrix has P^2 entries [parameters]

    def __call__(self, matvec: Matvec, b: Tensor) -> Solve:
        """Solve A x = b, `(P,)`.

        Raises:
            InvalidInput: if there are more parameters than `limit`.
        """
        P = len(b)
        if self.limit < P:
            raise InvalidInput(
                f"The dense solver was given {P} parameters, {P * P:.1e} numbers per task; its "
                f"limit is {self.limit}. Use the solver cg, or raise limit."
            )
        A = torch.stack([matvec(column) for column in torch.eye(P).to(b.device, b.dtype)], -1)
        finite = torch.isfinite(A).all()
        values, vectors = torch.linalg.eigh(torch.where(finite, A, 0))  # LAPACK refuses NaN
        # an eigenvalue within round-off is zero: there are many solutions or none
        zero = values.abs() <= ZERO_ROUNDINGS * torch.finfo(b.dtype).eps * values.abs().max()
        x = vectors @ ((vectors.T @ b) / torch.where(zero, 0, values))
        x = torch.where(b.any(), torch.where(finite, x, torch.nan), 0)
        residual = relative_residual(matvec, x, b)
        least = torch.where(finite, values[0], torch.nan)
        history = torch.stack([b.any().to(b.dtype), residual])
        return Solve(x, residual, torch.full_like(residual, P), history, least)
