"""How is a convolutional network differentiated twice on a CPU, without waste?

A meta-gradient takes the second derivative of every layer at every inner step. torch's own costs
more than it must: batch norm's is some twenty passes over the images, a convolution's four calls
where three do, and pooling and norms are vectorized only where channels are the last axis in
memory. `with_fast_convolutions` gives the same function with the same parameters, equal to
round-off.
"""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from metabench.problems.networks.double_backward import batch_norm, convolution
from metabench.problems.networks.func_transforms import inside_func_transform


def with_fast_convolutions(net: nn.Module) -> nn.Module:
    """Copy a module, its convolutions and their batch norms replaced by quicker equals.

    A `nn.Sequential` of torch's own layers with a convolution among them keeps channels last in
    memory and hands on what a plain one would. Outside float32 on a CPU, and inside transforms of
    torch.func, the layers are torch's own; so are layers of other classes, always.
    """
    net = copy.deepcopy(net)
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
    """Say whether a chain convolves images, in layers whose every use of memory torch checks."""
    parts = list(chain.modules())
    own = all(type(part).__module__.startswith("torch.nn.modules.") for part in parts)
    return own and any(type(part) is nn.Conv2d for part in parts)


def _applies(x: Tensor) -> bool:
    here = x.device.type == "cpu" and x.dtype == torch.float32 and x.dim() == 4
    return here and not inside_func_transform()


class _Images(nn.Sequential):
    """A chain of layers through which images go with their channels last in memory."""

    def forward(self, x: Tensor) -> Tensor:
        if not _applies(x):
            found: Tensor = super().forward(x)  # type: ignore[no-untyped-call]
            return found
        # one channel is last and first at once, and only a copy says which is meant
        x = x.clone(memory_format=torch.channels_last)
        for part in _pooled_first(list(self)):
            x = part(x)
        return x.contiguous()


def _pooled_first(parts: list[nn.Module]) -> list[nn.Module]:
    """Rectify after pooling, not before: the same numbers and gradients from fewer pixels."""
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
    """Say whether somebody's hook looks at what a layer is given or gives."""
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
