"""Base class of linear solvers: `solver(matvec, b) -> Solve` solves A x = b, A symmetric."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor

from metabench.settings.keywords import Settings

Matvec = Callable[[Tensor], Tensor]  # v (P,) -> A v (P,)


class Solve(NamedTuple):
    """A solution with its residual; a solver that did not converge raises no error.

    >>> import metabench as mb
    >>> import torch
    >>> A = torch.tensor([[2.0, 0.0], [0.0, 5.0]])
    >>> solve = mb.CG(steps=1)(lambda v: A @ v, torch.tensor([2.0, 5.0]))
    >>> round(float(solve.residual), 2), int(solve.steps)  # two steps are exact
    (0.23, 1)
    """

    x: Tensor  # (P,)
    residual: Tensor  # |A x - b| / |b|, computed from x; 0 where b is 0, ()
    steps: Tensor  # products with A until convergence, ()
    history: Tensor  # relative residual before the first step and after each, (steps + 1,)
    curvature: Tensor  # smallest p^T A p / p^T p seen; <= 0: A is not positive definite, ()


class Solver(Settings, ABC):
    """Base class of linear solvers; loops have a fixed length, so that they run under `vmap`.

    >>> import metabench as mb
    >>> import torch
    >>> A = torch.tensor([[2.0, 0.0], [0.0, 5.0]])
    >>> for solver in (mb.CG(steps=2), mb.MINRES(steps=2), mb.Dense()):
    ...     solver(lambda v: A @ v, torch.tensor([2.0, 5.0])).x.allclose(torch.ones(2))
    True
    True
    True
    """

    settings_group: ClassVar[str] = "algo.solver"
    version: ClassVar[int] = 1  # part of the address: raise it when the numbers change

    @abstractmethod
    def __call__(self, matvec: Matvec, b: Tensor) -> Solve:
        """Solve A x = b for one right-hand side `(P,)`."""


def relative_residual(matvec: Matvec, x: Tensor, b: Tensor) -> Tensor:
    """Compute |A x - b| / |b|, `()`; 0 where b is 0, for which every solver returns x = 0.

    Args:
        matvec: the product with A.
        x: the solution, `(P,)`.
        b: right-hand side, `(P,)`.
    """
    size = b.norm()
    zero = size == 0
    return torch.where(zero, size, (matvec(x) - b).norm() / torch.where(zero, 1, size))
