"""A tensor on the device and in the dtype of a vector."""

from __future__ import annotations

import torch
from torch import Tensor


def like(value: Tensor, vector: Tensor) -> Tensor:
    """Return a tensor on the device of a vector and, if it is floating-point, in its dtype.

    A complex tensor gets the complex numbers of that precision.
    """
    dtype = vector.dtype if torch.is_floating_point(value) else value.dtype
    if value.is_complex() and vector.dtype in (torch.float32, torch.float64):
        dtype = vector.dtype.to_complex()
    return value.to(vector.device, dtype)
