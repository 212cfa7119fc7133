"""Vectors of random signs for each task, which start Lanczos and estimate traces."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from metabench.problems.random_numbers import uniform
from metabench.problems.tasks import Address


def random_signs(address: Address, like: Tensor, seed: int, count: int) -> Tensor:
    """Draw vectors of signs for each task, `(count, T, P)`, from the tasks' addresses."""
    numbers = uniform(seed, "start", address, count * like.shape[1])
    signs = np.where(numbers < 0.5, -1.0, 1.0).reshape(len(like), count, -1).transpose(1, 0, 2)
    return torch.from_numpy(signs.copy()).to(like)
