"""Norm layers replaced in a copy of a module: by plain operations, or to record statistics.

Only modules of torch's own classes are replaced, since a subclass may have another `forward`. They
change their class in place, so that names, parameters and hooks stay.
"""

from __future__ import annotations

from typing import TypeGuard

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm, _NormBase

from metabench.problems.networks.module_copies import copy_sharing_values, copy_with_values
from metabench.problems.networks.plain_norms import layer_norm, over_axes, per_channel, scaled
from metabench.settings.errors import InvalidInput

BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
INSTANCE_NORMS: dict[type[nn.Module], int] = {
    nn.InstanceNorm1d: 1,
    nn.InstanceNorm2d: 2,
    nn.InstanceNorm3d: 3,
}  # axes


class PlainNorm(nn.Module):
    """(x - mean) / sqrt(variance + eps), scaled and shifted, over the axes of the norm it replaces.

    It has the parameters of that norm, under the same names.
    """

    weight: Tensor | None
    bias: Tensor | None
    eps: float
    shape: tuple[int, ...]  # of layer norm, () otherwise
    spatial: int  # axes of instance norm, 0 otherwise

    @property
    def over_batch(self) -> bool:
        """Whether it averages over the batch axis."""
        return not self.shape and not self.spatial

    @property
    def last(self) -> int:
        """Number of last axes that are normalized, 0 unless it is a layer norm."""
        return len(self.shape)

    def forward(self, x: Tensor) -> Tensor:
        """Normalize x; channels are axis 1, except in layer norm."""
        if self.shape:
            return layer_norm(x, self.shape, self.weight, self.bias, self.eps)
        if self.spatial == x.dim() - 1:  # one example without a batch axis
            return self.forward(x[None])[0]
        first = (0,) if self.over_batch else ()
        axes = (*first, *range(2, x.dim()))
        return over_axes(x, axes, self.weight, self.bias, self.eps)


class RecordingBatchNorm(PlainNorm):
    """Batch norm that records batch statistics, and can normalize by given ones instead.

    `recorded` holds the mean and unbiased variance of each channel at each call, which torch's
    running statistics average; with `given`, the buffers `mean` and `variance` normalize.
    """

    mean: Tensor
    variance: Tensor
    given: bool
    recorded: list[tuple[Tensor, Tensor]]

    def forward(self, x: Tensor) -> Tensor:
        """Normalize x, channels along axis 1."""
        axes = (0, *range(2, x.dim()))
        mean = x.mean(axes, keepdim=True)
        variance = ((x - mean) ** 2).mean(axes, keepdim=True)
        each = x.numel() // x.shape[1]  # values per channel
        self.recorded.append((mean.reshape(-1), variance.reshape(-1) * (each / max(each - 1, 1))))
        if self.given:
            mean, variance = per_channel(self.mean, x), per_channel(self.variance, x)
        return scaled(x - mean, variance, self.eps, self.weight, self.bias)

    def take_recorded(self) -> tuple[Tensor, Tensor]:
        """Return the recorded statistics, averaged over calls, and forget them.

        Raises:
            InvalidInput: if the module was not called.
        """
        recorded, self.recorded = self.recorded, []
        if not recorded:
            raise InvalidInput(
                "A batch norm has no statistics, because the module's forward does not call it."
            )
        mean, variance = (torch.stack(parts).mean(0) for parts in zip(*recorded, strict=True))
        return mean, variance


def record_batch_statistics(
    net: nn.Module, given: bool
) -> tuple[nn.Module, dict[str, RecordingBatchNorm]]:
    """Return a copy of a module whose batch norms record statistics, and these norms."""
    net = copy_sharing_values(net)
    replaced = {}
    for name, module in net.named_modules():
        weight = getattr(module, "weight", None)
        if weight is not None and is_batch_norm(module) and _is_replaced(module):
            replaced[name] = _recording(module, len(weight), given)
    return net, replaced


def is_batch_norm(module: nn.Module) -> bool:
    """Return whether a norm averages over the batch axis."""
    return isinstance(module, _BatchNorm) or (isinstance(module, PlainNorm) and module.over_batch)


def safe_norms(net: nn.Module) -> nn.Module:
    """Return a copy of a module with layer, batch and instance norms built from plain operations.

    torch's fused kernels are silently wrong in third derivatives, and in derivatives of a vmapped
    unroll (https://github.com/pytorch/pytorch/issues/196699). Norms that use running statistics
    are not replaced, since these are constants, nor are subclasses of torch's norms.

    >>> import torch
    >>> import metabench as mb
    >>> net = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.LayerNorm(4))
    >>> safe = mb.safe_norms(net)
    >>> x = torch.randn(5, 3)
    >>> type(safe[1]).__name__, torch.allclose(net(x), safe(x), atol=1e-6)
    ('PlainNorm', True)
    """
    net = copy_with_values(net)
    for module in net.modules():
        if _is_replaced(module):
            _as_plain(module)
    return net


def uses_its_batch(module: nn.Module) -> bool:
    """Return whether a batch or instance norm uses the statistics of its input."""
    return isinstance(module, _NormBase) and (module.training or module.running_mean is None)


def kept_batch_norms(net: nn.Module) -> tuple[str, ...]:
    """Return the names of batch norms that use batch statistics and aren't replaced."""
    return tuple(
        name or "the module itself"
        for name, module in net.named_modules()
        if isinstance(module, _BatchNorm) and uses_its_batch(module) and not _is_replaced(module)
    )


def _is_replaced(module: nn.Module) -> TypeGuard[nn.Module]:
    """Return whether a norm is of torch's own class, with its own forward, and uses its input."""
    if "forward" in vars(module):
        return False
    of_batch = type(module) in BATCH_NORMS or type(module) in INSTANCE_NORMS
    return (of_batch and uses_its_batch(module)) or type(module) in (nn.LayerNorm, PlainNorm)


def _as_plain(module: nn.Module) -> None:
    """Make a norm of torch's own class a PlainNorm in place."""
    if type(module) is PlainNorm:
        return
    settings = vars(module)
    settings["shape"] = settings.get("normalized_shape", ())
    settings["spatial"] = INSTANCE_NORMS.get(type(module), 0)
    module.__class__ = PlainNorm


def _recording(module: nn.Module, channels: int, given: bool) -> RecordingBatchNorm:
    """Make a batch norm record its statistics, in place."""
    _as_plain(module)
    module.__class__ = RecordingBatchNorm
    assert isinstance(module, RecordingBatchNorm)
    module.given, module.recorded = given, []
    module.register_buffer("mean", torch.zeros(channels))
    module.register_buffer("variance", torch.ones(channels))
    return module
