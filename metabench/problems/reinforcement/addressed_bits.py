"""Uniform numbers of every inner step from 64 random bits that a task holds.

Every inner step needs trajectories of its own, at any K. Step k turns each of the task's numbers
into another by the output function of SplitMix64, whose state these bits are
(Steele, Lea & Flood, 2014, https://doi.org/10.1145/2714064.2660195).
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

_GAMMA = -0x61C8864680B583EB  # 0x9E3779B97F4A7C15 as a signed number
_FIRST, _SECOND = -0x40A7B892E31B1A47, -0x6B2FB644ECCEEE15
_BITS = 53  # of a float64's fraction


def bits_of(uniforms: NDArray[np.float64]) -> Tensor:
    """Return the random bits of uniform numbers in (0, 1), int64 of the same shape."""
    fraction = np.floor(uniforms * 2.0**_BITS).astype(np.uint64)
    return torch.from_numpy((fraction << np.uint64(64 - _BITS)).view(np.int64))


def uniforms_of(bits: Tensor) -> Tensor:
    """Return the uniform numbers in (0, 1) of random bits, float64 of the same shape."""
    fraction: Tensor = (_right(bits, 64 - _BITS).double() + 0.5) * 2.0**-_BITS
    return fraction


def redrawn(bits: Tensor, number: int) -> Tensor:
    """Return other bits, independent for each number; number 0 returns the given bits."""
    if number == 0:
        return bits
    z = bits + _signed(number * _GAMMA)
    z = (z ^ _right(z, 30)) * _FIRST
    z = (z ^ _right(z, 27)) * _SECOND
    return z ^ _right(z, 31)


def _right(bits: Tensor, places: int) -> Tensor:
    """Shift to the right and fill with zeros."""
    return (bits >> places) & ((1 << (64 - places)) - 1)


def _signed(number: int) -> int:
    return (number + 2**63) % 2**64 - 2**63
