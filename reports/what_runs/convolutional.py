"""Convolutional modules with every norm."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations, parametrize

from reports.what_runs.case import Case, regression

IMAGE = regression(2, 6, 6)
Make = Callable[[], nn.Module]


class ChannelsFirst(nn.LayerNorm):
    """A layer norm over the channels of an image, as in ConvNeXt."""

    def forward(self, x: Tensor) -> Tensor:
        """Normalize the channels of each pixel."""
        return super().forward(x.movedim(1, -1)).movedim(-1, 1)


class FunctionalNorm(nn.Module):
    """Batch norm by torch.nn.functional, with running statistics that it writes."""

    mean: Tensor
    variance: Tensor

    def __init__(self) -> None:
        """Make the layers."""
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.ones(4)), nn.Parameter(torch.zeros(4))
        self.register_buffer("mean", torch.zeros(4))
        self.register_buffer("variance", torch.ones(4))

    def forward(self, x: Tensor) -> Tensor:
        """Normalize by the statistics of the batch."""
        batch_norm = nn.functional.batch_norm
        return batch_norm(x, self.mean, self.variance, self.weight, self.bias, training=True)


def net(norm: Make = nn.Identity, layer: Make | None = None) -> nn.Sequential:
    """Build a network of one convolution, a norm and a linear layer."""
    conv = layer() if layer else nn.Conv2d(2, 4, 3)
    pool = nn.AvgPool2d(2)
    return nn.Sequential(conv, norm(), nn.Tanh(), pool, nn.Flatten(), nn.Linear(16, 1))


def _plain_pooled() -> nn.Sequential:
    conv = nn.Conv2d(2, 4, 3)
    return nn.Sequential(conv, nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(16, 1))


class PlainWeightNorm(nn.Module):
    """Weight norm by plain operations; torch's fused kernel has a wrong second derivative."""

    def forward(self, g: Tensor, v: Tensor) -> Tensor:
        """Scale each filter of v to the norm g."""
        filters: Tensor = g * v / v.flatten(1).norm(dim=1)[:, None, None, None]
        return filters

    def right_inverse(self, weight: Tensor) -> tuple[Tensor, Tensor]:
        """Return norms and filters."""
        return weight.flatten(1).norm(dim=1)[:, None, None, None], weight


def _plain_weight_norm() -> nn.Module:
    layer = nn.Conv2d(2, 4, 3)
    return parametrize.register_parametrization(layer, "weight", PlainWeightNorm())


def _weight_norm() -> nn.Module:
    layer: nn.Module = parametrizations.weight_norm(nn.Conv2d(2, 4, 3))
    return layer


def _spectral_norm() -> nn.Module:
    return parametrizations.spectral_norm(nn.Conv2d(2, 4, 3))


def _norm(name: str, norm: Make) -> Case:
    return Case(f"conv_{name}", lambda: net(norm), IMAGE, "5.*")


CASES = (
    Case("conv_max_pool", _plain_pooled, IMAGE, "4.*"),
    _norm("batch_norm", lambda: nn.BatchNorm2d(4)),
    _norm("group_norm", lambda: nn.GroupNorm(2, 4)),
    _norm("layer_norm", lambda: nn.LayerNorm([4, 4, 4])),
    _norm("instance_norm", lambda: nn.InstanceNorm2d(4, affine=True)),
    _norm("channels_first_norm", lambda: ChannelsFirst(4)),
    _norm("rms_norm", lambda: nn.RMSNorm([4, 4, 4])),
    _norm("functional_batch_norm", FunctionalNorm),
    Case(
        "conv_weight_norm",
        lambda: net(layer=_weight_norm),
        IMAGE,
        "5.*",
        plain=lambda: net(layer=_plain_weight_norm),
    ),
    Case("conv_spectral_norm", lambda: net(layer=_spectral_norm).eval(), IMAGE, "5.*"),
    Case(
        "conv_spectral_norm_training",
        lambda: net(layer=_spectral_norm),
        IMAGE,
        "5.*",
        plain=lambda: net(layer=_spectral_norm).eval(),
    ),
)
