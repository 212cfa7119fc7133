"""A module called with given parameters: the one place where a network runs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.func import functional_call

from metabench.problems.parameter_layout import Layouts


class FunctionalModule(NamedTuple):
    """A module as a function of the vectors phi `(P,)` and theta `(Q,)`."""

    net: nn.Module
    layouts: Layouts
    fixed: Mapping[str, Tensor]  # parameters outside phi, and buffers, as the module holds them
    direct: bool  # whether some of theta isn't in phi, and enters as it is

    def __call__(self, phi: Tensor, theta: Tensor, x: Any) -> Any:
        """Call the module on x."""
        return forward(self.net, self.values(phi, theta), x)

    def values(self, phi: Tensor, theta: Tensor) -> dict[str, Tensor]:
        """Give every parameter and buffer by name: from phi, else from theta, else as held."""
        values = {name: like(value, phi) for name, value in self.fixed.items()}
        if self.direct:
            values |= self.layouts.theta.unflatten(theta)
        return values | self.layouts.phi.unflatten(phi)


def forward(net: nn.Module, values: dict[str, Tensor], x: Any) -> Any:
    """Call the module on x with these parameters: a tuple is its arguments, a dict its keywords."""
    if isinstance(x, tuple | list):
        return functional_call(net, values, tuple(x))
    if isinstance(x, dict):
        return functional_call(net, values, (), x)
    return functional_call(net, values, (x,))


def like(value: Tensor, vector: Tensor) -> Tensor:
    """Move a tensor to the device of a vector and, if it holds no integers, to its dtype."""
    dtype = vector.dtype if torch.is_floating_point(value) else value.dtype
    return value.to(vector.device, dtype)
