r"""Random numbers by address: the same task for every algorithm, chunk and machine.

Numbers come from Philox-4x32-10, a counter-based generator (Salmon, Moraes, Dror & Shaw, 2011,
https://doi.org/10.1145/2063384.2063405). Its 64-bit key holds the seed and the axis (task, support,
query, ...), its 128-bit counter the task, the redraw and the position, so no two draws share a
counter, and a longer draw begins with the shorter one.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from metabench.problems.tasks import Address
from metabench.settings.errors import InvalidInput

AXES = ("theta", "task", "support", "query", "inner", "label", "start")
LARGEST_SEED = 2**60 - 1

_WORD = np.uint64(0xFFFFFFFF)
_HALF = np.uint64(32)
_MULTIPLIERS = np.array([[0xD2511F53], [0xCD9E8D57]], np.uint64)
_KEY_STEPS = 0x9E3779B9, 0xBB67AE85
BLOCKS_AT_ONCE = 2**13  # blocks whose words and products fit into a core's L2 cache

Words = NDArray[np.uint64]


def uniform(seed: int, axis: str, address: Address, count: int) -> NDArray[np.float64]:
    """Draw `(T, count)` numbers, uniform on the open interval (0, 1), 53 bits each.

    Args:
        seed: 0 .. 2^60 - 1.
        axis: one of `AXES`; "task", "theta" and "start" have no redraws.
        address: T addresses.
        count: numbers for each address.

    Raises:
        InvalidInput: if the seed does not fit.
    """
    if not 0 <= seed <= LARGEST_SEED:
        raise InvalidInput(f"The seed is {seed}; it must lie in 0 .. 2^60 - 1.")
    task = address.task.astype(np.uint64)
    redraw = getattr(address, axis).astype(np.uint64) if axis in _REDRAWN else 0 * task
    block = np.arange((count + 1) // 2, dtype=np.uint64)[:, None]
    key = seed & 0xFFFFFFFF, (seed >> 32) << 4 | AXES.index(axis)
    bits = philox(
        (block, _collapse_equal(redraw), task & _WORD, _collapse_equal(task >> _HALF)), key
    )
    np.right_shift(bits, np.uint64(11), out=bits)
    large = bits.view(np.int64).astype(np.float64)  # numbers of 53 bits have no sign to lose
    large += 0.5
    numbers = np.empty((len(task), len(block), 2))
    np.multiply(large.transpose(2, 1, 0), 2.0**-53, out=numbers)
    return numbers.reshape(len(task), 2 * len(block))[:, :count]


def normal(uniforms: NDArray[np.float64]) -> NDArray[np.float64]:
    """Map uniform numbers to standard normal ones by the inverse distribution function."""
    from scipy.special import ndtri

    gaussian: NDArray[np.float64] = ndtri(uniforms)
    return gaussian


def order(uniforms: NDArray[np.float64]) -> NDArray[np.int64]:
    """Map `(..., n)` uniform numbers to random permutations of 0 .. n - 1 along the last axis."""
    return np.argsort(uniforms, axis=-1, kind="stable")


def philox(counter: tuple[Words, ...], key: tuple[int, int]) -> Words:
    """Apply ten rounds of Philox-4x32 to four 32-bit counter words; arrays broadcast.

    Returns:
        The first two words of the result and the last two, each pair as one 64-bit word, `(2, ..)`.
    """
    c0, c1, c2, c3 = counter
    (key0, key1), (next0, next1), *keys = _keys(*key)
    # The first two rounds, in which most words are equal for all tasks or all blocks.
    low, high = _MULTIPLIERS[:, 0]
    one = c2 * high ^ (c1 << _HALF ^ key0)
    other = c0 * low ^ (c3 << _HALF ^ key1)
    pairs = np.stack(np.broadcast_arrays(
        (other >> _HALF) * high ^ (one << _HALF ^ next0),
        (one >> _HALF) * low ^ next1 ^ other << _HALF,
    ))  # fmt: skip
    flat = pairs.reshape(2, -1)
    # In place, on pairs of words, in pieces that fit the cache: a draw of many tasks is bound by
    # calls and memory, not by arithmetic.
    for start in range(0, flat.shape[1], BLOCKS_AT_ONCE):
        part = flat[:, start : start + BLOCKS_AT_ONCE]
        products = np.empty_like(part)
        crossed = products[::-1]
        for each in keys:
            np.right_shift(part, _HALF, out=products)
            products *= _MULTIPLIERS
            part <<= _HALF
            part ^= each
            part ^= crossed
    return pairs


def _collapse_equal(words: Words) -> Words:
    """Return `(1,)` for `(n,)` equal words, which then broadcast at no cost."""
    return words[:1] if (words == words[:1]).all() else words


@lru_cache
def _keys(low: int, high: int) -> tuple[Words, ...]:
    """Return the two key words of each round, each in the upper half of 64 bits, `(2, 1)`."""
    words, steps = np.array([low, high]), np.array(_KEY_STEPS)
    return tuple(((words + n * steps & 0xFFFFFFFF) << 32).astype(np.uint64)[:, None]
                 for n in range(10))  # fmt: skip


_REDRAWN = frozenset(Address._fields) - {"task"}
