"""The truncated Neumann series of the inverse."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from metabench.linalg.solvers.solver import Matvec, Solve, Solver, relative_residual
from metabench.settings.errors import InvalidInput, check_below_one


@dataclass(frozen=True)
class Neumann(Solver):
    r"""Truncated series :math:`A^{-1} \approx \alpha \sum_{j < n} (I - \alpha A)^j`.

    Converges if and only if :math:`0 < \alpha \lambda_i < 2` for every eigenvalue of A; each term
    then multiplies the residual by at most :math:`\max_i |1 - \alpha \lambda_i|`. A residual above
    1 indicates divergence. Stops at relative residual `tol`.
    (Lorraine, Vicol & Duvenaud, 2020, https://arxiv.org/abs/1911.02590).

    >>> import metabench as mb
    >>> import torch
    >>> A = torch.tensor([[2.0, 0.0], [0.0, 5.0]])
    >>> found = mb.Neumann(steps=20, scale=0.3)(lambda v: A @ v, torch.tensor([2.0, 5.0]))
    >>> found.x.round(decimals=3)
    tensor([1., 1.])
    """

    steps: int = 10  # n, number of terms; each but the first takes a product [products]
    scale: float = 0.1  # alpha, below 2 / largest eigenvalue [1/curvature]
    tol: float = 1e-12  # relative residual at which it stops [1]

    def __post_init__(self) -> None:
        """Validate steps >= 1, a positive, finite scale and a tolerance below 1."""
        if self.steps < 1:
            raise InvalidInput(f"steps is {self.steps}; the series needs at least 1 term.")
        if not 0 < self.scale < math.inf:
            raise InvalidInput(f"scale is {self.scale}; it must be positive and finite.")
        check_below_one(tol=self.tol)

    def __call__(self, matvec: Matvec, b: Tensor) -> Solve:
        """Sum the series for one right-hand side b `(P,)`, in a loop of fixed length."""
        largest = b.abs().max()
        unit = b / torch.where(largest > 0, largest, 1)
        # the residual b - A x is the next term over alpha
        x, rest, first = torch.zeros_like(b), unit, unit.norm()
        going, steps = first > 0, torch.zeros_like(first)
        curvature = torch.full_like(first, math.inf)
        history = [first]
        for _ in range(self.steps):
            product = matvec(rest)
            rayleigh = torch.fmin(curvature, (rest @ product) / (rest @ rest))  # NaN after overflow
            curvature = torch.where(going, rayleigh, curvature)
            x = torch.where(going, x + self.scale * rest, x)
            rest = torch.where(going, rest - self.scale * product, rest)
            steps = steps + going
            history.append(rest.norm())
            going = going & ~(history[-1] <= self.tol * first)
        relative = torch.stack(history) / torch.where(first > 0, first, 1)
        residual = relative_residual(matvec, x, unit)
        x = torch.where(torch.isfinite(residual), largest * x, torch.nan)
        return Solve(x, residual, steps, relative, curvature)
