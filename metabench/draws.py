r"""Random numbers with an address: the same task for every algorithm, chunk and machine.

Numbers come from Philox-4x32-10, a counter-based generator (Salmon, Moraes, Dror & Shaw, 2011,
https://doi.org/10.1145/2063384.2063405). Its 64-bit key holds the seed and the axis (task, support,
query, ...), its 128-bit counter the task, the redraw and the position, so no two draws share a
counter, and a longer draw begins with the shorter one.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from metabench.misuse import Misuse
from metabench.problem import Address

AXES = ("theta", "task", "support", "query", "inner", "label", "start")
LARGEST_SEED = 2**60 - 1

_WORD = np.uint64(0xFFFFFFFF)
_HALF = np.uint64(32)
_MULTIPLIERS = np.uint64(0xD2511F53), np.uint64(0xCD9E8D57)
_KEY_STEPS = 0x9E3779B9, 0xBB67AE85

Words = NDArray[np.uint64]


def uniform(seed: int, axis: str, address: Address, count: int) -> NDArray[np.float64]:
    """Draw `(T, count)` numbers, uniform on the open interval (0, 1), 53 bits each.

    Args:
        seed: 0 .. 2^60 - 1.
        axis: one of `AXES`; "task", "theta" and "start" have no redraws.
        address: T addresses.
        count: numbers for each address.

    Raises:
        Misuse: if the seed does not fit.
    """
    if not 0 <= seed <= LARGEST_SEED:
        raise Misuse(f"The seed is {seed}; it must lie in 0 .. 2^60 - 1.")
    task = address.task.astype(np.uint64)[:, None]
    redraw = getattr(address, axis).astype(np.uint64)[:, None] if axis in _REDRAWN else 0 * task
    block = np.arange((count + 1) // 2, dtype=np.uint64)[None, :]
    key = seed & 0xFFFFFFFF, (seed >> 32) << 4 | AXES.index(axis)
    first, second, third, fourth = philox((block, redraw, task & _WORD, task >> _HALF), key)
    bits = np.stack([first << _HALF | second, third << _HALF | fourth], axis=-1)
    bits = bits.reshape(len(task), -1)[:, :count]
    return ((bits >> np.uint64(11)).astype(np.float64) + 0.5) * 2.0**-53


def normal(uniforms: NDArray[np.float64]) -> NDArray[np.float64]:
    """Turn uniform numbers into standard normal ones, one for one, by the inverse distribution."""
    from scipy.special import ndtri

    gaussian: NDArray[np.float64] = ndtri(uniforms)
    return gaussian


def order(uniforms: NDArray[np.float64]) -> NDArray[np.int64]:
    """Turn `(..., n)` uniform numbers into random orders of 0 .. n - 1 along the last axis."""
    return np.argsort(uniforms, axis=-1, kind="stable")


def philox(counter: tuple[Words, ...], key: tuple[int, int]) -> tuple[Words, ...]:
    """Apply ten rounds of Philox-4x32 to four 32-bit counter words; arrays broadcast."""
    # In place, on copies: a draw of many tasks is bound by memory, not by arithmetic.
    c0, c1, c2, c3 = (word.copy() for word in np.broadcast_arrays(*counter))
    left, right = np.empty_like(c0), np.empty_like(c0)
    k0, k1 = key
    for _ in range(10):
        np.multiply(c0, _MULTIPLIERS[0], out=left)
        np.multiply(c2, _MULTIPLIERS[1], out=right)
        np.right_shift(right, _HALF, out=c0)
        c0 ^= c1
        c0 ^= np.uint64(k0)
        np.right_shift(left, _HALF, out=c2)
        c2 ^= c3
        c2 ^= np.uint64(k1)
        np.bitwise_and(right, _WORD, out=c1)
        np.bitwise_and(left, _WORD, out=c3)
        k0, k1 = (k0 + _KEY_STEPS[0]) & 0xFFFFFFFF, (k1 + _KEY_STEPS[1]) & 0xFFFFFFFF
    return c0, c1, c2, c3


_REDRAWN = frozenset(Address._fields) - {"task"}
