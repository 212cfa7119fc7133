"""Convolutional networks whose second derivatives are fast on a CPU.

A meta-gradient takes the second derivative of every layer at every inner step. In torch, that of
batch norm takes some twenty passes over the images, that of a convolution four calls instead of
three, and pooling and norms are vectorized only where channels are the last axis in memory.
`with_fast_convolutions` returns the same function of the same parameters, equal to round-off.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from metabench.problems.networks.double_backward import batch_norm, convolution
from metabench.problems.networks.func_transforms import inside_func_transform
from metabench.problems.networks.module_copies import copy_sharing_values


def with_fast_convolutions(net: nn.Module) -> nn.Module:
    """Return a copy of a module with faster, equal convolutions and batch norms.

    A `nn.Sequential` of torch layers with a convolution keeps channels last in memory, and returns
    a contiguous result as usual. Outside float32 on a CPU, and inside transforms of torch.func,
    the layers run torch's code; subclasses of torch's layers always do.
    """
    net = copy_sharing_values(net)
    inside: set[nn.Module] = set()
    for module in net.modules():
        if module not in inside and type(module) is nn.Sequential and _of_images(module):
            inside |= set(module.modules())
            module.__class__ = _Images
    for module in net.modules():
        if type(module) is nn.Conv2d and module.padding_mode == "zeros":
            if not isinstance(module.padding, str):
                module.__class__ = _Conv
        elif type(module) is nn.BatchNorm2d and module.affine and module.running_mean is None:
            module.__class__ = _Norm
    return net


def _of_images(chain: nn.Sequential) -> bool:
    """Return whether a chain of torch layers contains a 2d convolution."""
    parts = list(chain.modules())
    of_torch = all(type(part).__module__.startswith("torch.nn.modules.") for part in parts)
    return of_torch and any(type(part) is nn.Conv2d for part in parts)


def _applies(x: Tensor) -> bool:
    here = x.device.type == "cpu" and x.dtype == torch.float32 and x.dim() == 4
    return here and not inside_func_transform()


class _Images(nn.Sequential):
    """A chain of layers that keeps images with channels last in memory."""

    def forward(self, x: Tensor) -> Tensor:
        if not _applies(x):
            found: Tensor = super().forward(x)  # type: ignore[no-untyped-call]
            return found
        # with one channel both orders have the same strides; only a copy sets the format
        x = x.clone(memory_format=torch.channels_last)
        for part in _pooled_first(list(self)):
            x = part(x)
        return x.contiguous()


def _pooled_first(parts: list[nn.Module]) -> list[nn.Module]:
    """Move each ReLU after the max pooling that follows it: the same result from fewer pixels."""
    for i in range(len(parts) - 1):
        pair = parts[i : i + 2]
        if (
            type(pair[0]) is nn.ReLU
            and type(pair[1]) is nn.MaxPool2d
            and not any(map(_has_hooks, pair))
        ):
            parts[i : i + 2] = pair[::-1]
    return parts


def _has_hooks(part: nn.Module) -> bool:
    """Return whether a layer has forward hooks."""
    return bool(part.__dict__.get("_forward_hooks") or part.__dict__.get("_forward_pre_hooks"))


class _Conv(nn.Conv2d):
    def forward(self, x: Tensor) -> Tensor:
        if not _applies(x):
            return super().forward(x)
        how = (list(self.stride), list(self.padding), list(self.dilation), False, [0, 0])
        return convolution(x, self.weight, self.bias, *how, self.groups)


class _Norm(nn.BatchNorm2d):
    def forward(self, x: Tensor) -> Tensor:
        if not _applies(x):
            return super().forward(x)
        return batch_norm(x, self.weight, self.bias, self.eps)
