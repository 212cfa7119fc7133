"""Permutation test of whether a sample's order matters: do neighbors vary together?"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

LEVEL = 1e-4  # at which an order is called not random
MOST_PERMUTATIONS = 9999  # with the order given, 1/10000 is the smallest p-value
ENOUGH_AS_EXTREME = 20  # permutations as extreme as the order given, after which none is added
FEWEST_BATCHES = 16  # of a size that counts
LARGEST_BATCH = 64  # consecutive vectors that are compared
NUMBERS_AT_ONCE = 2**16  # permuted together: fewer are bound by numpy's calls, more by the cache
ORDERS_AT_ONCE = 32  # at most: the test often ends after some forty


class OrderTest(NamedTuple):
    """A p-value, and the batch sums' squares over those expected in random order."""

    p: float
    ratio: float  # above 1: consecutive vectors resemble each other; below 1: they balance


def order_test(vectors: NDArray[np.floating], seed: int) -> OrderTest | None:
    """Test whether n vectors are in random order, by permutations of that order.

    The statistic is the sum over batch sizes B = 2, 4, .. of the squared norms of the sums of
    consecutive batches, each divided by B. It is two-sided about its mean over all orders. The
    p-value is exact at any n and for any distribution of the vectors, as permutations stop at a
    fixed number of extreme ones (Besag & Clifford, 1991, https://doi.org/10.1093/biomet/78.2.301).

    Args:
        vectors: `(n, Q)`.
        seed: of the permutations.

    Returns:
        The test; None if there are too few vectors, or all are equal.
    """
    n = len(vectors)
    largest = np.abs(vectors).max(initial=0.0) or 1.0  # so that no square overflows
    centered = vectors / largest
    centered -= centered.mean(0)
    spread = float(np.square(centered).sum()) / n
    sizes = batch_sizes(n)
    if not sizes or not spread > 0:
        return None
    centered /= np.sqrt(spread)
    expected = sum(n // B * (n - B) / (n - 1) for B in sizes)
    given = float(statistics(centered.T[None], sizes)[0])
    threshold = abs(given - expected) * (1 - 1e-9)  # equal ones differ by round-off
    others = islice(_permuted(centered, sizes, seed), MOST_PERMUTATIONS)
    extreme = 0
    for count, other in enumerate(others, 1):
        extreme += abs(other - expected) >= threshold
        if extreme == ENOUGH_AS_EXTREME:
            return OrderTest(extreme / count, given / expected)
    return OrderTest((extreme + 1) / (MOST_PERMUTATIONS + 1), given / expected)


def batch_sizes(n: int) -> list[int]:
    """Return the powers of two of which n vectors make enough batches.

    >>> batch_sizes(128)
    [2, 4, 8]
    """
    sizes, B = [], 2
    while B <= LARGEST_BATCH and n // B >= FEWEST_BATCHES:
        sizes.append(B)
        B *= 2
    return sizes


def _permuted(vectors: NDArray[np.floating], sizes: list[int], seed: int) -> Iterator[float]:
    """Yield the statistic of one random order after another, without end."""
    generator, n = np.random.default_rng(seed), len(vectors)
    together = min(max(NUMBERS_AT_ONCE // vectors.size, 2), ORDERS_AT_ONCE)
    columns, permuted = vectors.T.copy(), np.empty((together, vectors.shape[1], n))
    while True:
        orders = np.stack([generator.permutation(n) for _ in range(together)])
        for i, column in enumerate(columns):
            permuted[:, i] = column.take(orders, mode="clip")  # which is faster than "raise"
        yield from statistics(permuted, sizes).tolist()


def statistics(columns: NDArray[np.floating], sizes: list[int]) -> NDArray[np.floating]:
    """Return the sum over B of the squared norms of the sums of consecutive batches, over B, (C,).

    Args:
        columns: `(C, Q, n)`, the n vectors in C orders.
        sizes: of the batches, each twice the one before, from 2.
    """
    total, sums = np.zeros(len(columns)), columns
    for B in sizes:
        even = sums.shape[-1] // 2 * 2
        sums = sums[..., 0:even:2] + sums[..., 1:even:2]
        flat = sums.reshape(len(sums), 1, -1)
        total += (flat @ flat.transpose(0, 2, 1))[:, 0, 0] / B
    return total
