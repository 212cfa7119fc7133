"""A module called with given parameters."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn
from torch.func import functional_call


def forward(net: nn.Module, values: dict[str, Tensor], x: Any) -> Any:
    """Call the module on x with these parameters: a tuple is its arguments, a dict its keywords."""
    if isinstance(x, tuple | list):
        return functional_call(net, values, tuple(x))
    if isinstance(x, dict):
        return functional_call(net, values, (), x)
    return functional_call(net, values, (x,))
