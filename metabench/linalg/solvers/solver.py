"""What a solver is: `solver(matvec, b) -> Solve`, the answer to A x = b with A symmetric."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor

Matvec = Callable[[Tensor], Tensor]  # v (P,) -> A v (P,)


class Solve(NamedTuple):
    """An answer, and how far it can be trusted. What did not converge is data, no error."""

    x: Tensor  # (P,)
    residual: Tensor  # |A x - b| / |b|, measured at x itself; 0 where b is 0, ()
    steps: Tensor  # products with A until x stood still, ()
    history: Tensor  # relative residual before the first step and after each, (steps + 1,)
    curvature: Tensor  # least p^T A p / p^T p met; 0 or less: A isn't positive definite, ()


class Solver(ABC):
    """Settings are dataclass fields; loops have a fixed length, so that `vmap` takes them."""

    version: ClassVar[int] = 1  # part of the address: raise it when the numbers change

    @abstractmethod
    def __call__(self, matvec: Matvec, b: Tensor) -> Solve:
        """Solve A x = b for one right-hand side `(P,)`."""


def relative_residual(matvec: Matvec, x: Tensor, b: Tensor) -> Tensor:
    """Give |A x - b| / |b|, `()`, and 0 where b is 0 (so is then every solver's x)."""
    size = b.norm()
    zero = size == 0
    return torch.where(zero, size, (matvec(x) - b).norm() / torch.where(zero, 1, size))
