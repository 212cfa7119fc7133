r"""Is the mean of vectors zero? A U-statistic with a multiplier bootstrap (NumPy only).

The statistic is the mean of :math:`\langle d_i, d_j \rangle` over pairs, which estimates
:math:`|E d|^2` without bias. Under the null it is a weighted sum of chi-squares and not normal: a
z test rejects right estimators several times as often as its level says.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

DRAWS = 1999  # of the multipliers
ROUND_OFF = 1e-9  # relative to the scale: differences below are those of arithmetic


def mean_squared(sample: NDArray[np.float64], groups: NDArray[np.int64]) -> float:
    """Return the unbiased estimate of the mean over groups of |E d|^2, weighted by pairs.

    Args:
        sample: n vectors, `(n, D)`.
        groups: which vectors have one expectation, `(n,)`.
    """
    pairs = _pairs(groups)
    return float(((sample @ sample.T) * pairs).sum() / pairs.sum())


def mean_is_zero(
    sample: NDArray[np.float64], groups: NDArray[np.int64], seed: int, scale: float = 0.0
) -> float:
    """Return the p-value of the hypothesis that every group's mean is zero.

    Multipliers are normal, which are those of a wild bootstrap of a degenerate U-statistic
    (Dehling & Mikosch, 1994, https://doi.org/10.1006/jmva.1994.1067).

    Args:
        sample: n vectors, `(n, D)`.
        groups: which vectors have one expectation, `(n,)`.
        seed: of the multipliers.
        scale: size of what was subtracted; differences at its round-off count as zero.
    """
    if float(np.abs(sample).max(initial=0.0)) <= ROUND_OFF * scale:
        return 1.0
    pairs = _pairs(groups)
    found = ((sample @ sample.T) * pairs).sum()
    centered = sample.copy()
    for group in np.unique(groups):
        centered[groups == group] -= sample[groups == group].mean(0)
    gram = (centered @ centered.T) * pairs
    factors = np.random.default_rng(seed).standard_normal((DRAWS, len(sample)))
    null = np.einsum("bn,bn->b", factors @ gram, factors)
    return float((1 + (null >= found).sum()) / (1 + DRAWS))


def _pairs(groups: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Return which pairs of different vectors are of one group, `(n, n)`."""
    same: NDArray[np.bool_] = groups[:, None] == groups[None, :]
    np.fill_diagonal(same, False)
    return same
