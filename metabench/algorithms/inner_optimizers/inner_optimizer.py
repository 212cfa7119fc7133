r"""Base class of inner optimizers: `optimizer(gradient, phi, slots, k) -> (phi, slots)`.

The optimizer is given the gradient and does not compute it. The adjoint of an inner step is
therefore the optimizer's vector-Jacobian product followed by a Hessian-vector product, for every
optimizer. `slots` is the tuple of the optimizer's state tensors (momentum buffers), each `(P,)`.
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
from metabench.settings.keywords import Settings

Slots = tuple[Tensor, ...]


@dataclass(frozen=True)
class InnerOptimizer(Settings, ABC):
    """Base class of inner optimizers; the gradient is clipped first where a limit is finite.

    Clipping by norm scales the whole gradient of the task, clipping by value limits each entry
    (Pascanu, Mikolov & Bengio, 2013, https://arxiv.org/abs/1211.5063).

    >>> import metabench as mb
    >>> import torch
    >>> optimizer = mb.SGD(rate=0.1, clip_norm=1.0)
    >>> phi, slots = optimizer(torch.tensor([3.0, 4.0]), torch.zeros(2), (), k=0)
    >>> phi  # the gradient is clipped to [0.6, 0.8]
    tensor([-0.0600, -0.0800])
    """

    settings_group: ClassVar[str] = "algo.inner_optimizer"
    version: ClassVar[int] = 1  # part of the address: raise it when the numbers change
    plain: ClassVar[bool] = False  # the update is phi - rate g, g the clipped gradient

    rate: float = 0.01  # inner learning rate alpha [1/curvature]
    clip_norm: float = math.inf  # largest norm of the inner gradient [gradient norm]
    clip_value: float = math.inf  # largest entry of the inner gradient [gradient entry]

    def __post_init__(self) -> None:
        """Validate a finite rate >= 0 and positive clipping limits."""
        if not (0 <= self.rate < math.inf):
            raise InvalidInput(
                f"The inner rate is {self.rate}; it must be finite and not negative."
            )
        check_limits(clip_norm=self.clip_norm, clip_value=self.clip_value)

    def __call__(self, gradient: Tensor, phi: Tensor, slots: Slots, k: int) -> tuple[Tensor, Slots]:
        """Clip the gradient `(P,)` and update phi `(P,)` at inner step k = 0, 1, .."""
        return self.update(clipped(gradient, self.clip_norm, self.clip_value), phi, slots, k)

    def start(self, phi: Tensor) -> Slots:
        """Return the slots before the first step."""
        return ()

    def stability_edge(self) -> float | None:
        """Return the largest stable rate times eigenvalue on a quadratic; None: unknown.

        The eigenvalue is that of the Hessian, or of the Hessian scaled by `preconditioner`.
        Clipping bounds the growth but does not change this edge of stability
        (Cohen, Kaur, Li, Kolter & Talwalkar, 2021, https://arxiv.org/abs/2103.00065, appendix B).
        """
        return None

    def spectral_radius(self, product: NDArray[np.float64]) -> NDArray[np.float64] | None:
        """Return the growth factor of a step on a quadratic; None: unknown.

        The spectral radius of the linear recursion along one eigenvector; `product` is rate times
        eigenvalue.
        """
        return None

    def preconditioner(self, slots: Slots, k: int) -> Tensor | None:
        """Return the diagonal `(P,)` that scales the gradient of step k; None if there is none."""
        return None

    @abstractmethod
    def update(self, gradient: Tensor, phi: Tensor, slots: Slots, k: int) -> tuple[Tensor, Slots]:
        """Apply the update rule to the clipped gradient.

        Args:
            gradient: clipped gradient of the inner loss at phi, `(P,)`.
            phi: parameters before the step, `(P,)`.
            slots: optimizer state before the step.
            k: index of the step, from 0.

        Returns:
            phi and slots after the step.
        """
