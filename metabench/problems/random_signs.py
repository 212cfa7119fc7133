"""Random sign vectors for each task: starting vectors of Lanczos and of trace estimates."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from metabench.problems.random_numbers import uniform
from metabench.problems.tasks import Address


def random_signs(address: Address, like: Tensor, seed: int, count: int) -> Tensor:
    """Draw sign vectors for each task, `(count, T, P)`.

    Args:
        address: of T tasks; equal addresses give equal signs.
        like: a tensor `(T, P)`, for shape, dtype and device.
        seed: of the draw.
        count: vectors of each task.
    """
    numbers = uniform(seed, "start", address, count * like.shape[1])
    signs = np.where(numbers < 0.5, -1.0, 1.0).reshape(len(like), count, -1).transpose(1, 0, 2)
    return torch.from_numpy(signs.copy()).to(like)
