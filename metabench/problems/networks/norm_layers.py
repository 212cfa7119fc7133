"""Norm layers built from plain operations, whose derivatives of any order are right."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm, _NormBase
from torch.nn.modules.instancenorm import _InstanceNorm

from metabench.settings.errors import InvalidInput


class PlainNorm(nn.Module):
    """(x - mean) / sqrt(variance + eps), scaled and shifted, over the axes of the norm it replaces.

    It shares the parameters of that norm, under the same names.
    """

    weight: Tensor | None
    bias: Tensor | None
    eps: float

    def __init__(self, norm: nn.LayerNorm | _NormBase | PlainNorm) -> None:
        """Replace a layer, batch or instance norm, with its parameters and axes."""
        super().__init__()
        self.weight, self.bias, self.eps = norm.weight, norm.bias, norm.eps
        self.last = len(norm.normalized_shape) if isinstance(norm, nn.LayerNorm) else 0
        self.over_batch = is_batch_norm(norm)

    def forward(self, x: Tensor) -> Tensor:
        """Normalize x; channels are axis 1, except in layer norm."""
        if self.last:
            axes = tuple(range(x.dim() - self.last, x.dim()))
        else:
            axes = (0, *range(2, x.dim())) if self.over_batch else tuple(range(2, x.dim()))
        mean = x.mean(axes, keepdim=True)
        return self.scaled(x - mean, ((x - mean) ** 2).mean(axes, keepdim=True))

    def scaled(self, centered: Tensor, variance: Tensor) -> Tensor:
        """Divide centered values by their standard deviation, then scale and shift them."""
        x = centered * (variance + self.eps).rsqrt()

        def along(parameter: Tensor) -> Tensor:  # channels, or the last axes
            return parameter if self.last else parameter.view(1, -1, *(1,) * (x.dim() - 2))

        x = x if self.weight is None else x * along(self.weight)
        return x if self.bias is None else x + along(self.bias)


class RecordingBatchNorm(PlainNorm):
    """Batch norm that records batch statistics, and can normalize by given ones instead.

    `recorded` holds the mean and unbiased variance of each channel at the last call, which torch's
    running statistics average; with `given`, the buffers `mean` and `variance` normalize.
    """

    mean: Tensor
    variance: Tensor

    def __init__(self, norm: _BatchNorm | PlainNorm, channels: int, given: bool) -> None:
        """Replace a batch norm, with its parameters.

        Args:
            norm: the batch norm.
            channels: of its input.
            given: whether to normalize by the buffers instead of by batch statistics.
        """
        super().__init__(norm)
        self.given = given
        self.recorded: tuple[Tensor, Tensor] | None = None
        self.register_buffer("mean", torch.zeros(channels))
        self.register_buffer("variance", torch.ones(channels))

    def forward(self, x: Tensor) -> Tensor:
        """Normalize x, channels along axis 1."""
        axes, shape = (0, *range(2, x.dim())), (1, -1, *(1,) * (x.dim() - 2))
        mean = x.mean(axes, keepdim=True)
        variance = ((x - mean) ** 2).mean(axes, keepdim=True)
        each = x.numel() // x.shape[1]  # values per channel
        self.recorded = mean.reshape(-1), variance.reshape(-1) * (each / max(each - 1, 1))
        if self.given:
            mean, variance = self.mean.view(shape), self.variance.view(shape)
        return self.scaled(x - mean, variance)

    def take_recorded(self) -> tuple[Tensor, Tensor]:
        """Return the recorded statistics and forget them.

        Raises:
            InvalidInput: if the module was not called.
        """
        recorded, self.recorded = self.recorded, None
        if recorded is None:
            raise InvalidInput(
                "A batch norm has no statistics, because the module's forward does not call it."
            )
        return recorded


def record_batch_statistics(
    net: nn.Module, given: bool
) -> tuple[nn.Module, dict[str, RecordingBatchNorm]]:
    """Return a copy of a module whose batch norms record statistics, and these norms."""
    net = copy.deepcopy(net)
    replaced = {}
    for name, module in list(net.named_modules()):
        weight = getattr(module, "weight", None)
        plain = isinstance(module, PlainNorm) and module.over_batch
        if weight is not None and (plain or (is_batch_norm(module) and _uses_its_batch(module))):
            replaced[name] = RecordingBatchNorm(module, len(weight), given)
            home, _, attribute = name.rpartition(".")
            if not name:
                return replaced[name], replaced
            setattr(net.get_submodule(home), attribute, replaced[name])
    return net, replaced


def is_batch_norm(module: nn.Module) -> bool:
    """Return whether a norm averages over the batch axis."""
    return isinstance(module, _BatchNorm) or (isinstance(module, PlainNorm) and module.over_batch)


def safe_norms(net: nn.Module) -> nn.Module:
    """Return a copy of a module with layer, batch and instance norms built from plain operations.

    torch's fused kernels are silently wrong in third derivatives, and in derivatives of a vmapped
    unroll (https://github.com/pytorch/pytorch/issues/196699). Norms that use running statistics
    are not replaced, since these are constants.

    >>> import torch
    >>> import metabench as mb
    >>> net = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.LayerNorm(4))
    >>> safe = mb.safe_norms(net)
    >>> x = torch.randn(5, 3)
    >>> type(safe[1]).__name__, torch.allclose(net(x), safe(x), atol=1e-6)
    ('PlainNorm', True)
    """
    net = copy.deepcopy(net)
    for name, module in list(net.named_modules()):
        if isinstance(module, nn.LayerNorm) or _uses_its_batch(module):
            plain = PlainNorm(module)
            if not name:
                return plain
            home, _, attribute = name.rpartition(".")
            setattr(net.get_submodule(home), attribute, plain)
    return net


def _uses_its_batch(module: nn.Module) -> bool:
    norm = isinstance(module, _BatchNorm | _InstanceNorm)
    return norm and (module.training or module.running_mean is None)
