"""Heavy-ball momentum in the inner loop."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from metabench.misuse import Misuse
from metabench.steps.step import Slots, Step


@dataclass(frozen=True)
class Momentum(Step):
    r"""Gradient descent with heavy-ball momentum.

    :math:`m \leftarrow \mu m + g`, :math:`\phi \leftarrow \phi - \alpha m`, the form of
    `torch.optim.SGD`, after
    (Polyak, 1964, https://doi.org/10.1016/0041-5553%2864%2990137-5).
    """

    momentum: float = 0.9  # mu, share of the last step that is kept [1]

    def __post_init__(self) -> None:
        """Refuse a momentum outside [0, 1)."""
        super().__post_init__()
        if not 0 <= self.momentum < 1:
            raise Misuse(f"momentum is {self.momentum}; it must lie in [0, 1).")

    def start(self, phi: Tensor) -> Slots:
        """Begin at rest."""
        return (torch.zeros_like(phi),)

    def move(self, gradient: Tensor, phi: Tensor, slots: Slots, k: int) -> tuple[Tensor, Slots]:
        """Step along the running sum of gradients."""
        velocity = self.momentum * slots[0] + gradient
        return phi - self.rate * velocity, (velocity,)
