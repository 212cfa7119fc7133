r"""Unbiased moments of meta-gradients, with their intervals (NumPy and SciPy only).

All statistics of n meta-gradients here follow from 2 n + 1 numbers: with the mean
:math:`\bar g`, the deviations :math:`|g_i - \bar g|^2` and the projections
:math:`\langle g_i - \bar g, \bar g \rangle`. They carry the same information as the sums over the
Gram matrix, so delete-one jackknives cost O(n), and they don't cancel where the mean is large.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from metabench.stats.intervals import Estimate, Interval, Vector, jackknife_error, t_quantile


class Moments(NamedTuple):
    """Sufficient numbers of n vectors for the squared norm of their mean and their variance."""

    mean_squared: float  # |g bar|^2
    deviations: Vector  # |g_i - g bar|^2, (n,)
    projections: Vector  # <g_i - g bar, g bar>, (n,)
    crossings: Vector  # <g_i - g bar, g_j - g bar> with j a third of the sample further, (n,)

    @classmethod
    def from_samples(cls, sample: NDArray[np.floating]) -> Moments:
        """Compute the moments of n vectors `(n, Q)`, in float64."""
        sample = np.asarray(sample, np.float64)
        with np.errstate(over="ignore", invalid="ignore"):  # what isn't finite is data
            mean = sample.mean(0)
            centered = sample - mean
            deviations = np.einsum("nq,nq->n", centered, centered)
            far = np.roll(centered, len(centered) // 3, axis=0)
            crossings = np.einsum("nq,nq->n", centered, far)
            return cls(float(mean @ mean), deviations, centered @ mean, crossings)

    @classmethod
    def joined(cls, parts: Iterable[Moments]) -> Moments:
        """Return the moments of vectors from those of their parts, e.g. layers: a plain sum."""
        return cls(*(sum(each) for each in zip(*parts, strict=True)))

    @classmethod
    def weighted(cls, *parts: tuple[float, Moments]) -> Moments:
        """Return a linear combination, as squares of a x + b y are of those of x, y and x - y."""
        return cls.joined(
            cls(w * m.mean_squared, w * m.deviations, w * m.projections, w * m.crossings)
            for w, m in parts
        )

    @property
    def n(self) -> int:
        """Vectors in the sample."""
        return len(self.deviations)

    @property
    def variance(self) -> float:
        """Tr Cov(g), unbiased."""
        return float(self.deviations.sum()) / (self.n - 1)

    @property
    def mean_norm_squared(self) -> float:
        """|E g|^2, unbiased; it can be negative."""
        return self.mean_squared - self.variance / self.n

    def estimates(self) -> tuple[Estimate, Estimate]:
        """Return tr Cov(g) and |E g|^2 with their delete-one values."""
        variance, squared = self.leave_one_out()
        return Estimate(self.variance, variance), Estimate(self.mean_norm_squared, squared)

    def leave_one_out(self) -> tuple[Vector, Vector]:
        """Return delete-one values of tr Cov(g) and of |E g|^2, `(n,)` and `(n,)`."""
        n = self.n
        rest = self.deviations.sum() - self.deviations * n / (n - 1)
        variance = rest / (n - 2)
        mean_squared = (
            self.mean_squared - 2 * self.projections / (n - 1) + self.deviations / (n - 1) ** 2
        )
        return variance, mean_squared - variance / (n - 1)


def variance_interval(moments: Moments) -> Interval:
    """Return the interval of tr Cov(g) by a delete-one jackknife of its logarithm."""
    value = moments.variance
    if not (0 < value < math.inf):
        return Interval(value, math.nan, math.nan)
    with np.errstate(divide="ignore", invalid="ignore"):  # one vector may carry all the variance
        error = jackknife_error(np.log(moments.leave_one_out()[0]))
    reach = t_quantile(moments.n - 1) * error
    return Interval.from_logarithm(value, reach)


def skewed_variance_interval(moments: Moments) -> Interval:
    """Return the interval of tr Cov(g) with the wider ends of the logarithm's and Hall's.

    Where a few of a hundred vectors dominate the variance, the logarithm's alone covered 91 %.
    """
    found = variance_interval(moments)
    if not found.low > 0 or not found.high < math.inf:
        return found
    halls = moments.estimates()[0].hall_interval()
    wide = found.widened(halls.low, halls.high)
    return wide._replace(low=max(wide.low, 0.0))


def mean_norm_interval(moments: Moments) -> Interval:
    r"""Return the score interval of |E g|^2: all values T that its estimate doesn't reject.

    The variance of the estimate is
    :math:`4 T \lambda / n + 2 \operatorname{tr} \Sigma^2 / n^2`, with lambda the variance along the
    mean. Its second term remains where the mean is zero. Evaluating the first at the T tested,
    not at the estimate, keeps the coverage there (Wilson, 1927,
    https://doi.org/10.1080/01621459.1927.10502953); a jackknife's is 76 % in two dimensions.
    """
    value, t2 = moments.mean_norm_squared, t_quantile(moments.n - 1) ** 2
    coefficient, floor = null_variance(moments)
    center = value + t2 * coefficient / 2
    reach = math.sqrt(max(center**2 - value**2 + t2 * floor, 0.0))
    # An estimate far below zero, where |E g|^2 can't be, is still inside its own interval.
    return Interval(value, min(center - reach, value), center + reach)


def tasks_to_detect(moments: Moments) -> float:
    """Return the number of tasks at which |E g|^2 is likely distinguishable from zero.

    While noise dominates, its standard error falls as 1/n; the number makes it three times smaller
    than the estimate requires, so that an unlucky sample suffices too. Where the estimate is not
    positive, half its upper limit is used instead.
    """
    interval = mean_norm_interval(moments)
    reach = t_quantile(moments.n - 1) * math.sqrt(null_variance(moments)[1])
    target = interval.value if interval.value > 0 else interval.high / 2
    return math.inf if target <= 0 else moments.n * max(3 * reach / target, 2.0)


def null_variance(moments: Moments) -> tuple[float, float]:
    """Return s and f of the estimate's variance s T + f where |E g|^2 is T."""
    if moments.mean_squared == 0:
        return 0.0, 0.0
    coefficient = jackknife_error(moments.leave_one_out()[1]) ** 2 / moments.mean_squared
    return coefficient, 2 * float((moments.crossings**2).mean()) / moments.n**2
