"""Heavy-ball momentum in the inner loop."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from metabench.algorithms.inner_optimizers.inner_optimizer import InnerOptimizer, Slots
from metabench.settings.errors import check_below_one


@dataclass(frozen=True)
class Momentum(InnerOptimizer):
    r"""Gradient descent with heavy-ball momentum.

    :math:`m \leftarrow \mu m + g`, :math:`\phi \leftarrow \phi - \alpha m`, the form of
    `torch.optim.SGD`, after
    (Polyak, 1964, https://doi.org/10.1016/0041-5553%2864%2990137-5).
    """

    momentum: float = 0.9  # mu, share of the last step that is kept [1]

    def __post_init__(self) -> None:
        """Refuse a momentum outside [0, 1)."""
        super().__post_init__()
        check_below_one(momentum=self.momentum)

    def start(self, phi: Tensor) -> Slots:
        """Begin at rest."""
        return (torch.zeros_like(phi),)

    def edge(self) -> float:
        """Give 2 (1 + mu), where a root of the heavy ball's recursion reaches -1."""
        return 2 * (1 + self.momentum)

    def radius(self, product: NDArray[np.float64]) -> NDArray[np.float64]:
        r"""Give the larger root of :math:`z^2 - (1 + \mu - \alpha\lambda) z + \mu`, in size."""
        return heavy_ball(product, self.momentum)

    def update(self, gradient: Tensor, phi: Tensor, slots: Slots, k: int) -> tuple[Tensor, Slots]:
        """Step along the running sum of gradients."""
        velocity = self.momentum * slots[0] + gradient
        return phi - self.rate * velocity, (velocity,)


def heavy_ball(product: NDArray[np.float64], momentum: float) -> NDArray[np.float64]:
    """Give the larger root in size of z^2 - (1 + momentum - product) z + momentum.

    >>> heavy_ball(np.array([0.0, 4.0]), 0.5).round(3).tolist()
    [1.0, 2.281]
    """
    half = (1 + momentum - np.asarray(product, np.float64)) / 2
    root = np.sqrt(np.maximum(half**2 - momentum, 0.0))
    inside = np.sqrt(momentum)  # both roots where they are complex
    return np.where(half**2 < momentum, inside, np.abs(half) + root)
