"""Plain gradient descent in the inner loop."""

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

    >>> import metabench as mb
    >>> import torch
    >>> mb.SGD(rate=0.1)(torch.tensor([1.0, -2.0]), torch.zeros(2), (), k=0)[0]
    tensor([-0.1000,  0.2000])
    """

    plain: ClassVar[bool] = True

    def stability_edge(self) -> float:
        """Return 2: above it |1 - alpha lambda| > 1."""
        return 2.0

    def spectral_radius(self, product: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return |1 - alpha lambda|."""
        return np.abs(1 - product)

    def update(self, gradient: Tensor, phi: Tensor, slots: Slots, k: int) -> tuple[Tensor, Slots]:
        """Subtract rate times the gradient."""
        return phi - self.rate * gradient, slots
