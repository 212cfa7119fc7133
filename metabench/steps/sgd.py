"""Gradient descent: does the inner loop need more than this?"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from metabench.steps.step import Slots, Step


@dataclass(frozen=True)
class SGD(Step):
    r"""Plain gradient descent.

    :math:`\phi \leftarrow \phi - \alpha g`, equation 1 of
    (Finn, Abbeel & Levine, 2017, https://arxiv.org/abs/1703.03400).
    """

    def move(self, gradient: Tensor, phi: Tensor, slots: Slots, k: int) -> tuple[Tensor, Slots]:
        """Step against the gradient."""
        return phi - self.rate * gradient, slots
