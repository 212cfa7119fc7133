"""Feed-forward modules, and the ways in which inputs and outputs are grouped."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import mse_loss

from reports.what_runs.case import Case, numbers, regression


def mlp(inputs: int = 3, outputs: int = 1) -> nn.Sequential:
    """Build a network of one hidden layer."""
    return nn.Sequential(nn.Linear(inputs, 5), nn.Tanh(), nn.Linear(5, outputs))


class Residual(nn.Module):
    """A residual block, its layers declared in another order than they are called."""

    def __init__(self) -> None:
        """Make the layers."""
        super().__init__()
        self.out = nn.Linear(4, 1)
        self.into = nn.Linear(3, 4)
        self.block = nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        """Compute the prediction."""
        hidden = self.into(x)
        out: Tensor = self.out(hidden + torch.tanh(self.block(hidden)))
        return out


class Keywords(nn.Module):
    """A module that is called with keywords."""

    def __init__(self) -> None:
        """Make the layers."""
        super().__init__()
        self.image, self.text = nn.Linear(3, 4), nn.Linear(2, 4)
        self.out = nn.Linear(4, 1)

    def forward(self, image: Tensor, text: Tensor) -> Tensor:
        """Compute the prediction of both inputs."""
        out: Tensor = self.out(torch.tanh(self.image(image) + self.text(text)))
        return out


class Bilinear(nn.Module):
    """A module of two positional inputs."""

    def __init__(self) -> None:
        """Make the layers."""
        super().__init__()
        self.both, self.act, self.out = nn.Bilinear(3, 2, 4), nn.PReLU(), nn.Linear(4, 1)

    def forward(self, one: Tensor, other: Tensor) -> Tensor:
        """Compute the prediction of both inputs."""
        out: Tensor = self.out(self.act(self.both(one, other)))
        return out


class TwoOutputs(nn.Module):
    """A module that returns a mean and a log variance."""

    def __init__(self) -> None:
        """Make the layers."""
        super().__init__()
        self.body = nn.Linear(3, 4)
        self.mean, self.log_variance = nn.Linear(4, 1), nn.Linear(4, 1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Compute both."""
        hidden = torch.tanh(self.body(x))
        return self.mean(hidden), self.log_variance(hidden)


def likelihood(prediction: tuple[Tensor, Tensor], y: Tensor) -> Tensor:
    """Compute the negative log likelihood of a normal distribution."""
    mean, log_variance = prediction
    return ((y - mean) ** 2 * (-log_variance).exp() + log_variance).mean()


def _keywords(generator: torch.Generator) -> tuple[dict[str, Tensor], Tensor]:
    x = {"image": numbers(generator, 3), "text": numbers(generator, 2)}
    return x, numbers(generator, 1)


def _two(generator: torch.Generator) -> tuple[tuple[Tensor, Tensor], Tensor]:
    return (numbers(generator, 3), numbers(generator, 2)), numbers(generator, 1)


CASES = (
    Case("mlp", mlp, regression(3), "2.*"),
    Case("residual", Residual, regression(3), "out.*"),
    Case("dict_input", Keywords, _keywords, "out.*"),
    Case("two_inputs", Bilinear, _two, "out.*", mse_loss),
    Case("two_outputs", TwoOutputs, regression(3), "log_variance.*", likelihood),
)
