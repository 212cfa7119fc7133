"""Normalization written out of plain operations, which torch differentiates as often as asked."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm, _NormBase
from torch.nn.modules.instancenorm import _InstanceNorm

from metabench.settings.errors import InvalidInput


class PlainNorm(nn.Module):
    """(x - mean) / sqrt(variance + eps), scaled and shifted, over the axes of a norm it replaces.

    It holds the very parameters of that norm, under the same names.
    """

    weight: Tensor | None
    bias: Tensor | None
    eps: float

    def __init__(self, norm: nn.LayerNorm | _NormBase | PlainNorm) -> None:
        """Take over the parameters and axes of a layer, batch or instance norm."""
        super().__init__()
        self.weight, self.bias, self.eps = norm.weight, norm.bias, norm.eps
        self.last = len(norm.normalized_shape) if isinstance(norm, nn.LayerNorm) else 0
        self.over_batch = is_batch_norm(norm)

    def forward(self, x: Tensor) -> Tensor:
        """Normalize x; channels are axis 1, but for layer norm."""
        if self.last:
            axes = tuple(range(x.dim() - self.last, x.dim()))
        else:
            axes = (0, *range(2, x.dim())) if self.over_batch else tuple(range(2, x.dim()))
        mean = x.mean(axes, keepdim=True)
        return self.scaled(x - mean, ((x - mean) ** 2).mean(axes, keepdim=True))

    def scaled(self, centered: Tensor, variance: Tensor) -> Tensor:
        """Divide what is centered by its standard deviation, scale and shift it."""
        x = centered * (variance + self.eps).rsqrt()

        def along(parameter: Tensor) -> Tensor:  # channels, or the last axes
            return parameter if self.last else parameter.view(1, -1, *(1,) * (x.dim() - 2))

        x = x if self.weight is None else x * along(self.weight)
        return x if self.bias is None else x + along(self.bias)


class RecordingBatchNorm(PlainNorm):
    """Batch norm that holds on to the statistics it saw, and can normalize by given ones instead.

    `seen` is the mean and the unbiased variance of each channel at the last call, as torch's own
    running statistics average them; the buffers `mean` and `variance` are used where `given` says.
    """

    mean: Tensor
    variance: Tensor

    def __init__(self, norm: _BatchNorm | PlainNorm, channels: int, given: bool) -> None:
        """Take over the parameters of a batch norm."""
        super().__init__(norm)
        self.given = given
        self.seen: tuple[Tensor, Tensor] | None = None
        self.register_buffer("mean", torch.zeros(channels))
        self.register_buffer("variance", torch.ones(channels))

    def forward(self, x: Tensor) -> Tensor:
        """Normalize x, channels along axis 1."""
        axes, shape = (0, *range(2, x.dim())), (1, -1, *(1,) * (x.dim() - 2))
        mean = x.mean(axes, keepdim=True)
        variance = ((x - mean) ** 2).mean(axes, keepdim=True)
        each = x.numel() // x.shape[1]  # values of a channel
        self.seen = mean.reshape(-1), variance.reshape(-1) * (each / max(each - 1, 1))
        if self.given:
            mean, variance = self.mean.view(shape), self.variance.view(shape)
        return self.scaled(x - mean, variance)

    def take(self) -> tuple[Tensor, Tensor]:
        """Give what was seen, once: nothing of a call is left behind.

        Raises:
            InvalidInput: if the module was not reached.
        """
        seen, self.seen = self.seen, None
        if seen is None:
            raise InvalidInput(
                "A batch norm isn't reached by the module's forward; it has no statistics."
            )
        return seen


def record_batch_statistics(
    net: nn.Module, given: bool
) -> tuple[nn.Module, dict[str, RecordingBatchNorm]]:
    """Copy a module with batch norms that tell their statistics; give those by name, too."""
    net = copy.deepcopy(net)
    replaced = {}
    for name, module in list(net.named_modules()):
        weight = getattr(module, "weight", None)
        plain = isinstance(module, PlainNorm) and module.over_batch
        if weight is not None and (plain or (is_batch_norm(module) and _uses_its_batch(module))):
            replaced[name] = RecordingBatchNorm(module, len(weight), given)
            home, _, own = name.rpartition(".")
            if not name:
                return replaced[name], replaced
            setattr(net.get_submodule(home), own, replaced[name])
    return net, replaced


def is_batch_norm(module: nn.Module) -> bool:
    """Whether a norm's statistics are those of a batch."""
    return isinstance(module, _BatchNorm) or (isinstance(module, PlainNorm) and module.over_batch)


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
