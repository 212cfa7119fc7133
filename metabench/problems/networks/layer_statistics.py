"""Mean and variance of each channel of the outputs of a network's layers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.modules.conv import _ConvNd

from metabench.problems.networks.functional_module import forward
from metabench.problems.networks.module_copies import copy_sharing_values
from metabench.problems.networks.norm_layers import PlainNorm
from metabench.problems.networks.plain_tensors import following, plain_tensors

CHANNELS_FIRST = (_ConvNd, _NormBase, nn.GroupNorm)  # channels are axis 1, not the last


class ChannelStatistics(NamedTuple):
    """Statistics of one layer's output over examples and positions."""

    mean: Tensor  # of each channel, (C,)
    variance: Tensor  # of each channel, (C,)


LayerStatistics = dict[str, ChannelStatistics]


def layer_statistics(net: nn.Module) -> Callable[[Mapping[str, Tensor], Any], LayerStatistics]:
    """Return a function `(values, x)` -> statistics by layer, for all layers with parameters.

    For a layer called more than once, they are those of the last call.
    """
    net, recorded = copy_sharing_values(net), LayerStatistics()
    plain = plain_tensors(net)
    for name, module in net.named_modules():
        if next(module.parameters(recurse=False), None) is not None:
            module.register_forward_hook(
                partial(_record_statistics, recorded, name or "the module itself")
            )

    def statistics(values: Mapping[str, Tensor], x: Any) -> LayerStatistics:
        recorded.clear()
        vector = next(value for value in values.values() if value.is_floating_point())
        with following(plain, vector):
            forward(net, dict(values), x)
        found = dict(recorded)
        recorded.clear()  # keep no tensors of this call
        return found

    return statistics


def _record_statistics(
    recorded: LayerStatistics, name: str, module: nn.Module, args: Any, given: Any
) -> None:
    given = given[0] if isinstance(given, tuple) else given  # a recurrent layer's outputs
    if not isinstance(given, Tensor) or given.dim() < 2 or not given.is_floating_point():
        return
    first = isinstance(module, CHANNELS_FIRST)
    first = first or (isinstance(module, PlainNorm) and not module.last)
    rows = (given.movedim(1, -1) if first else given).flatten(0, -2)
    recorded[name] = ChannelStatistics(rows.mean(0), ((rows - rows.mean(0)) ** 2).mean(0))
