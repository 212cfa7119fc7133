"""Problems on which a careless estimator breaks, as a user would write them."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from metabench.families.quadratic import Quadratic
from metabench.families.sinusoid import Sinusoid
from metabench.problems.problem import Problem


@dataclass(frozen=True)
class Bent(Quadratic):
    """Bowls whose first coordinate is bent down, or whose last ones are flat."""

    down: float = 0.0  # curvature taken off the first coordinate [curvature]
    flat: int = 0  # coordinates without curvature [coordinates]

    def problem(self) -> Problem:
        """Give the bowls' losses, bent."""
        plain = super().problem()
        return plain._replace(inner_loss=self._loss, outer_loss=self._loss)

    def _loss(self, phi: Tensor, theta: Tensor, data: tuple[Tensor, Tensor]) -> Tensor:
        curvature, center = data
        curved = self.dim - self.flat
        terms = 0.5 * curvature * (phi - center) ** 2
        return terms[..., :curved].sum(-1).mean() - 0.5 * self.down * phi[0] ** 2


@dataclass(frozen=True)
class Nothing(Quadratic):
    """A loss that no parameter moves."""

    def problem(self) -> Problem:
        """Give losses of the data alone."""
        plain = super().problem()
        return plain._replace(inner_loss=_of_data, outer_loss=_of_data)


def _of_data(phi: Tensor, theta: Tensor, data: tuple[Tensor, Tensor]) -> Tensor:
    return (data[1] ** 2).mean() + 0 * phi.sum()


@dataclass(frozen=True)
class Dead(Sinusoid):
    """A ReLU network that starts with every hidden unit off."""

    hidden: tuple[int, ...] = (5,)  # widths of the hidden layers [units]

    def theta(self, seed: int) -> Tensor:
        """Push the first layer's biases far below any input."""
        theta = super().theta(seed)
        names = dict(self.problem().layouts.theta.segments())
        bias = next(part for name, part in names.items() if name.endswith("bias"))
        theta[bias] = torch.full_like(theta[bias], -1e3)
        return theta
