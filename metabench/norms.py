"""Normalisation written out of plain operations, which torch differentiates as often as asked."""

from __future__ import annotations

import copy

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm, _NormBase
from torch.nn.modules.instancenorm import _InstanceNorm


class PlainNorm(nn.Module):
    """(x - mean) / sqrt(variance + eps), scaled and shifted, over the axes of a norm it replaces.

    It holds the very parameters of that norm, under the same names.
    """

    def __init__(self, norm: nn.LayerNorm | _NormBase) -> None:
        """Take over the parameters and axes of a layer, batch or instance norm."""
        super().__init__()
        self.weight, self.bias, self.eps = norm.weight, norm.bias, norm.eps
        self.last = len(norm.normalized_shape) if isinstance(norm, nn.LayerNorm) else 0
        self.over_batch = isinstance(norm, _BatchNorm)

    def forward(self, x: Tensor) -> Tensor:
        """Normalise x; channels are axis 1, but for layer norm."""
        if self.last:
            axes = tuple(range(x.dim() - self.last, x.dim()))
        else:
            axes = (0, *range(2, x.dim())) if self.over_batch else tuple(range(2, x.dim()))
        centred = x - x.mean(axes, keepdim=True)
        x = centred * ((centred**2).mean(axes, keepdim=True) + self.eps).rsqrt()
        shape = self.weight.shape if self.last else (1, -1, *(1,) * (x.dim() - 2))
        x = x if self.weight is None else x * self.weight.view(shape)
        return x if self.bias is None else x + self.bias.view(shape)


def safe_norms(net: nn.Module) -> nn.Module:
    """Copy a module with its layer, batch and instance norms written out of plain operations.

    torch's fused kernels are silently wrong in third derivatives, and in derivatives of a vmapped
    unroll (https://github.com/pytorch/pytorch/issues/196699). Batch and instance norm that use
    running statistics in evaluation mode are constants to them, and left as they are.
    """
    net = copy.deepcopy(net)
    for name, module in list(net.named_modules()):
        if isinstance(module, nn.LayerNorm) or _uses_its_batch(module):
            plain = PlainNorm(module)
            if not name:
                return plain
            home, _, own = name.rpartition(".")
            setattr(net.get_submodule(home), own, plain)
    return net


def _uses_its_batch(module: nn.Module) -> bool:
    norm = isinstance(module, _BatchNorm | _InstanceNorm)
    return norm and (module.training or module.running_mean is None)
