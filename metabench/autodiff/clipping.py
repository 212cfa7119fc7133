"""Gradient clipping: each entry by value, then the whole vector by norm."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from metabench.settings.errors import check_limits as check_limits


def clipped(gradient: Tensor, norm: float = math.inf, value: float = math.inf) -> Tensor:
    """Clip one gradient `(Q,)`, or each of n gradients `(n, Q)`.

    Differentiable everywhere, also at a zero gradient
    (Pascanu, Mikolov & Bengio, 2013, https://arxiv.org/abs/1211.5063).

    Args:
        gradient: `(Q,)` or `(n, Q)`.
        norm: largest norm; infinite: no limit.
        value: largest size of an entry, applied first; infinite: no limit.

    >>> clipped(torch.tensor([3.0, -4.0]), norm=1.0)
    tensor([ 0.6000, -0.8000])
    """
    if value < math.inf:
        gradient = gradient.clamp(-value, value)
    if norm < math.inf:
        square = (gradient * gradient).sum(-1, keepdim=True)
        over = square > norm**2
        # The inner `where` keeps the derivative of 1/sqrt finite where the norm is not clipped.
        scale = norm / torch.where(over, square, torch.ones_like(square)).sqrt()
        gradient = torch.where(over, scale, torch.ones_like(scale)) * gradient
    return gradient
