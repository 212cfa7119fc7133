"""How are the features of a network's layers distributed: mean and variance of every channel?"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.modules.conv import _ConvNd

from metabench.problems.networks.functional_module import forward
from metabench.problems.networks.norm_layers import PlainNorm

CHANNELS_FIRST = (_ConvNd, _NormBase, nn.GroupNorm)  # after the examples, not last


class ChannelStatistics(NamedTuple):
    """What one layer gives, over examples and places."""

    mean: Tensor  # of each channel, (C,)
    variance: Tensor  # of each channel, (C,)


LayerStatistics = dict[str, ChannelStatistics]


def layer_statistics(net: nn.Module) -> Callable[[Mapping[str, Tensor], Any], LayerStatistics]:
    """Give what every layer with parameters gives at parameters and inputs `(values, x)`, by name.

    Of a layer that is called more than once it is the last call's.
    """
    net, seen = copy.deepcopy(net), LayerStatistics()
    for name, module in net.named_modules():
        if next(module.parameters(recurse=False), None) is not None:
            module.register_forward_hook(
                partial(_record_statistics, seen, name or "the module itself")
            )

    def of(values: Mapping[str, Tensor], x: Any) -> LayerStatistics:
        seen.clear()
        forward(net, dict(values), x)
        found = dict(seen)
        seen.clear()  # nothing of a call is left behind
        return found

    return of


def _record_statistics(
    seen: LayerStatistics, name: str, module: nn.Module, args: Any, given: Any
) -> None:
    given = given[0] if isinstance(given, tuple) else given  # a recurrent layer's outputs
    if not isinstance(given, Tensor) or given.dim() < 2 or not given.is_floating_point():
        return
    first = isinstance(module, CHANNELS_FIRST)
    first = first or (isinstance(module, PlainNorm) and not module.last)
    rows = (given.movedim(1, -1) if first else given).flatten(0, -2)
    seen[name] = ChannelStatistics(rows.mean(0), ((rows - rows.mean(0)) ** 2).mean(0))
