"""Vectors whose mean and covariance are known."""

from __future__ import annotations

import numpy as np


def sample(n: int, dim: int = 4, seed: int = 0, mean: float = 1.0) -> np.ndarray:
    """Draw n normal vectors about a mean, with standard deviations 1 .. dim."""
    rng = np.random.default_rng(seed)
    return mean + rng.standard_normal((n, dim)) * np.arange(1, dim + 1)
