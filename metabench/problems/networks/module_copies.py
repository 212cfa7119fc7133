"""Copies of a module: with its own values, and with values that are shared."""

from __future__ import annotations

import copy
from typing import Any

from torch import Tensor, nn


def copy_with_values(net: nn.Module) -> nn.Module:
    """Return a copy of a module that shares nothing with it.

    Tensors that a module computes from its parameters and keeps as attributes, as the hooks of
    weight norm and pruning do, are detached: torch refuses to copy them, and the hooks renew them.
    """
    computed = {
        id(value): value.detach()
        for module in net.modules()
        for value in vars(module).values()
        if isinstance(value, Tensor) and not value.is_leaf
    }
    return copy.deepcopy(net, computed)


def copy_sharing_values(net: nn.Module) -> nn.Module:
    """Return a copy of a module with the same parameters and buffers, which take no more memory.

    For a module that is called with other values, or whose layers are replaced.
    """
    memo: dict[int, Any] = {id(x): x for x in (*net.parameters(), *net.buffers())}
    return copy.deepcopy(net, memo)
