"""One module that people bring: its network, data, loss, and the module that is called last."""

from __future__ import annotations

import contextlib
import copy
import importlib.util
import io
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import mse_loss

EXAMPLES = 4  # in a support or query set
Loss = Callable[[Any, Any], Tensor]
Draw = Callable[[torch.Generator], Any]  # one support or query set, (x, y)


@dataclass(frozen=True)
class Case:
    """A module in float32, at random weights that are the same in every run."""

    name: str
    make: Callable[[], nn.Module]
    draw: Draw
    head: str  # pattern of the parameters of the module that is called last
    loss: Loss = mse_loss
    # the same function of the same parameters in a form that plain autograd differentiates right
    plain: Callable[[], nn.Module] | None = None
    double_loss: Loss | None = None  # the loss with its own numbers in float64
    plain_loss: Loss | None = None  # the same function in a form that autograd differentiates right
    unit: float = 2**-53  # round-off of the loss's arithmetic
    needs: str = ""  # a package of the extra `transformers`
    head_by_name: bool = False  # the head is named in the settings: which one adapts is a choice

    @property
    def missing(self) -> bool:
        """Whether a package that it needs isn't installed."""
        return bool(self.needs) and importlib.util.find_spec(self.needs) is None

    def net(self) -> nn.Module:
        """Build the module as its user does."""
        torch.manual_seed(0)
        with contextlib.redirect_stderr(io.StringIO()):  # libraries' words on small settings
            return self.make()

    def reference(self) -> nn.Module:
        """Build the float64 module that plain autograd differentiates."""
        net = self.net()
        if self.plain is not None:
            other = self.plain()
            other.load_state_dict(net.state_dict())
            net = other
        return copy.deepcopy(net).double()

    @property
    def loss_in_double(self) -> Loss:
        """The loss as its user has it in float64."""
        return self.double_loss or self.loss

    @property
    def reference_loss(self) -> Loss:
        """The loss in float64 that plain autograd differentiates."""
        return self.plain_loss or self.loss_in_double


def numbers(generator: torch.Generator, *shape: int) -> Tensor:
    """Draw standard normal numbers of a shape after the examples, in float64."""
    return torch.randn(EXAMPLES, *shape, generator=generator, dtype=torch.float64)


def words(generator: torch.Generator, most: int, *shape: int) -> Tensor:
    """Draw integers below `most` of a shape after the examples."""
    return torch.randint(most, (EXAMPLES, *shape), generator=generator)


def regression(*shape: int) -> Draw:
    """Return the sampler of x of a shape and one target."""
    return lambda generator: (numbers(generator, *shape), numbers(generator, 1))
