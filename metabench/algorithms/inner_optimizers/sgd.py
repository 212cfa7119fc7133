"""Gradient descent: does the inner loop need more than this?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from metabench.algorithms.inner_optimizers.inner_optimizer import InnerOptimizer, Slots


@dataclass(frozen=True)
class SGD(InnerOptimizer):
    r"""Plain gradient descent.

    :math:`\phi \leftarrow \phi - \alpha g`, equation 1 of
    (Finn, Abbeel & Levine, 2017, https://arxiv.org/abs/1703.03400).
    """

    plain: ClassVar[bool] = True

    def edge(self) -> float:
        """Give 2: beyond it |1 - alpha lambda| > 1."""
        return 2.0

    def radius(self, product: NDArray[np.float64]) -> NDArray[np.float64]:
        """Give |1 - alpha lambda|."""
        return np.abs(1 - product)

    def update(self, gradient: Tensor, phi: Tensor, slots: Slots, k: int) -> tuple[Tensor, Slots]:
        """Step against the gradient."""
        return phi - self.rate * gradient, slots
