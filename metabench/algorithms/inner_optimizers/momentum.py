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

    :math:`m \leftarrow \mu m + g`, :math:`\phi \leftarrow \phi - \alpha m`, as in `torch.optim.SGD`
    (Polyak, 1964, https://doi.org/10.1016/0041-5553%2864%2990137-5).

    >>> import metabench as mb
    >>> import torch
    >>> optimizer = mb.Momentum(rate=0.1, momentum=0.5)
    >>> phi, slots = torch.zeros(1), optimizer.start(torch.zeros(1))
    >>> for k in range(2):
    ...     phi, slots = optimizer(torch.ones(1), phi, slots, k)
    >>> phi, slots
    (tensor([-0.2500]), (tensor([1.5000]),))
    """

    momentum: float = 0.9  # mu, decay of the running sum of gradients [1]

    def __post_init__(self) -> None:
        """Validate a momentum in [0, 1)."""
        super().__post_init__()
        check_below_one(momentum=self.momentum)

    def start(self, phi: Tensor) -> Slots:
        """Return the running sum of gradients, zero."""
        return (torch.zeros_like(phi),)

    def stability_edge(self) -> float:
        """Return 2 (1 + mu), where a root of the heavy-ball recursion reaches -1."""
        return 2 * (1 + self.momentum)

    def spectral_radius(self, product: NDArray[np.float64]) -> NDArray[np.float64]:
        r"""Return the largest |root| of :math:`z^2 - (1 + \mu - \alpha\lambda) z + \mu`."""
        return heavy_ball(product, self.momentum)

    def update(self, gradient: Tensor, phi: Tensor, slots: Slots, k: int) -> tuple[Tensor, Slots]:
        """Subtract rate times the running sum of gradients."""
        velocity = self.momentum * slots[0] + gradient
        return phi - self.rate * velocity, (velocity,)


def heavy_ball(product: NDArray[np.float64], momentum: float) -> NDArray[np.float64]:
    """Compute the spectral radius of heavy ball: the largest |z| of its recursion's two roots.

    The roots are those of z^2 - (1 + momentum - product) z + momentum; `product` is rate times
    eigenvalue.

    >>> heavy_ball(np.array([0.0, 4.0]), 0.5).round(3).tolist()
    [1.0, 2.281]
    """
    half = (1 + momentum - np.asarray(product, np.float64)) / 2
    root = np.sqrt(np.maximum(half**2 - momentum, 0.0))
    inside = np.sqrt(momentum)  # size of both roots where they are complex
    return np.where(half**2 < momentum, inside, np.abs(half) + root)
