"""Weight norm by plain operations, because the second derivative of torch's fused kernel is wrong.

`torch.autograd.gradgradcheck` of `torch._weight_norm` fails (torch 2.13 on a CPU).
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations
from torch.nn.utils.weight_norm import WeightNorm


def with_plain_weight_norms(net: nn.Module) -> Iterator[str]:
    """Compute the weight norms of a module by plain operations, and yield a note if there are any.

    Both of torch's are replaced, of the same parameters: the parametrization and the older hook.
    """
    found = False
    for module in net.modules():
        if type(module) is parametrizations._WeightNorm:
            module.__class__, found = _Parametrization, True
        for hook in module._forward_pre_hooks.values():
            if type(hook) is WeightNorm:
                hook.__class__, found = _Hook, True
    if found:
        yield (
            "Weight norm is computed by plain operations, because torch's fused kernel has a wrong "
            "second derivative, in training too."
        )


class _Parametrization(parametrizations._WeightNorm):
    def forward(self, weight_g: Tensor, weight_v: Tensor) -> Tensor:
        return _weight_norm(weight_v, weight_g, self.dim)


class _Hook(WeightNorm):
    def compute_weight(self, module: nn.Module) -> Tensor:
        g, v = (getattr(module, f"{self.name}_{part}") for part in "gv")
        return _weight_norm(v, g, self.dim)


def _weight_norm(v: Tensor, g: Tensor, dim: int) -> Tensor:
    return v * (g / torch.norm_except_dim(v, 2, dim))
