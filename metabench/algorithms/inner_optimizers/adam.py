"""Adam in the inner loop, differentiable everywhere."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from metabench.algorithms.inner_optimizers.inner_optimizer import InnerOptimizer, Slots
from metabench.algorithms.inner_optimizers.momentum import heavy_ball
from metabench.settings.errors import InvalidInput, check_below_one


@dataclass(frozen=True)
class Adam(InnerOptimizer):
    r"""Adam with `eps_root` inside the square root, so it is differentiable at zero gradient.

    (Kingma & Ba, 2015, https://arxiv.org/abs/1412.6980). Networks with ReLU have gradient entries
    of exactly zero, where the derivative of the plain square root is infinite.

    >>> import metabench as mb
    >>> import torch
    >>> optimizer = mb.Adam(rate=0.1)
    >>> phi = torch.zeros(2)
    >>> optimizer(torch.tensor([3.0, -2.0]), phi, optimizer.start(phi), k=0)[0]
    tensor([-0.1000,  0.1000])
    """

    beta1: float = 0.9  # decay of the running mean of the gradient [1]
    beta2: float = 0.999  # decay of the running mean of its square [1]
    eps: float = 1e-8  # added to the root of the mean square [gradient entry]
    eps_root: float = 1e-16  # added under that root [gradient entry squared]

    def __post_init__(self) -> None:
        """Validate decays in [0, 1) and eps_root > 0."""
        super().__post_init__()
        check_below_one(beta1=self.beta1, beta2=self.beta2)
        if not self.eps_root > 0:
            raise InvalidInput(
                f"eps_root is {self.eps_root}; it must be positive, or the meta-gradient is NaN "
                "where a gradient entry is zero."
            )

    def start(self, phi: Tensor) -> Slots:
        """Return both running means, zero."""
        return torch.zeros_like(phi), torch.zeros_like(phi)

    def stability_edge(self) -> float:
        """Return 2 (1 + beta1) / (1 - beta1), for the preconditioned Hessian.

        It holds for a constant preconditioner (Cohen et al., 2022,
        https://arxiv.org/abs/2207.14484).
        """
        return 2 * (1 + self.beta1) / (1 - self.beta1)

    def spectral_radius(self, product: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the radius of heavy ball with momentum beta1 and rate (1 - beta1) alpha."""
        return heavy_ball((1 - self.beta1) * np.asarray(product), self.beta1)

    def preconditioner(self, slots: Slots, k: int) -> Tensor:
        """Return one over the bias-corrected root mean square after k = 1, 2, .. steps."""
        square = slots[1] / (1 - self.beta2**k)
        return 1 / ((square + self.eps_root).sqrt() + self.eps)

    def update(self, gradient: Tensor, phi: Tensor, slots: Slots, k: int) -> tuple[Tensor, Slots]:
        """Subtract rate times bias-corrected mean over bias-corrected root mean square."""
        mean = self.beta1 * slots[0] + (1 - self.beta1) * gradient
        square = self.beta2 * slots[1] + (1 - self.beta2) * gradient**2
        direction = mean / (1 - self.beta1 ** (k + 1))
        size = (square / (1 - self.beta2 ** (k + 1)) + self.eps_root).sqrt() + self.eps
        return phi - self.rate * direction / size, (mean, square)
