r"""What an inner optimizer is: `step(gradient, phi, slots, k) -> (phi, slots)`.

A step computes no gradient itself, so the adjoint of the inner loop is the vector-Jacobian product
of the step followed by a Hessian-vector product, for every optimizer alike. `slots` is the tuple of
tensors that an optimizer carries (momentum buffers), each `(P,)`.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from metabench.autodiff.clipping import clipped
from metabench.settings.errors import InvalidInput, check_limits

Slots = tuple[Tensor, ...]


@dataclass(frozen=True)
class InnerOptimizer(ABC):
    """One inner update, with the gradient clipped first if a limit is finite.

    Clipping by norm scales the whole gradient of the task, clipping by value each entry
    (Pascanu, Mikolov & Bengio, 2013, https://arxiv.org/abs/1211.5063).
    """

    version: ClassVar[int] = 1  # part of the address: raise it when the numbers change
    plain: ClassVar[bool] = False  # it is phi - rate g, of the clipped gradient g

    rate: float = 0.01  # inner learning rate alpha [1/curvature]
    clip_norm: float = math.inf  # largest norm of the inner gradient [gradient norm]
    clip_value: float = math.inf  # largest entry of the inner gradient [gradient entry]

    def __post_init__(self) -> None:
        """Refuse a rate or limit that no inner loop can use."""
        if not (0 <= self.rate < math.inf):
            raise InvalidInput(
                f"The inner rate is {self.rate}; it must be finite and not negative."
            )
        check_limits(clip_norm=self.clip_norm, clip_value=self.clip_value)

    def __call__(self, gradient: Tensor, phi: Tensor, slots: Slots, k: int) -> tuple[Tensor, Slots]:
        """Clip the gradient `(P,)` and move phi `(P,)` at inner step k = 0, 1, .."""
        return self.update(clipped(gradient, self.clip_norm, self.clip_value), phi, slots, k)

    def start(self, phi: Tensor) -> Slots:
        """Give the slots before the first step."""
        return ()

    def edge(self) -> float | None:
        """Give rate times eigenvalue beyond which the step grows on a quadratic; None: unknown.

        The eigenvalue is that of the Hessian, or of the one that `preconditioner` scales. Clipping
        bounds the growth, but doesn't move the edge
        (Cohen, Kaur, Li, Kolter & Talwalkar, 2021, https://arxiv.org/abs/2103.00065, appendix B).
        """
        return None

    def radius(self, product: NDArray[np.float64]) -> NDArray[np.float64] | None:
        """Give the factor by which a step stretches, at the worst, at rate times eigenvalue.

        The largest root in size of the step's recursion along one eigenvector; None: unknown.
        """
        return None

    def preconditioner(self, slots: Slots, k: int) -> Tensor | None:
        """Give the diagonal `(P,)` that scales the gradient of step k, or None where none does."""
        return None

    @abstractmethod
    def update(self, gradient: Tensor, phi: Tensor, slots: Slots, k: int) -> tuple[Tensor, Slots]:
        """Apply the optimizer's own rule."""
