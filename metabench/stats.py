r"""Unbiased moments of meta-gradients, and intervals that cover (NumPy and SciPy only).

Everything about n meta-gradients that is needed here is in 2 n + 2 numbers: with the mean
:math:`\bar g`, the deviations :math:`|g_i - \bar g|^2`, the projections
:math:`\langle g_i - \bar g, \bar g \rangle`, and tr Cov(g)^2. They carry the same information as
sums over the Gram matrix, so delete-one jackknives cost O(n), and they don't cancel where the mean
is large.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Vector = NDArray[np.float64]
LEVEL = 0.95  # of every interval
PAIRED = 256  # vectors whose pairs estimate tr Cov^2: some 30,000 pairs settle it to a few per cent


class Interval(NamedTuple):
    """A value with its 95 % interval; an end that isn't finite is unbounded."""

    value: float
    low: float
    high: float


class Moments(NamedTuple):
    """What a sample of n vectors says of its mean and covariance."""

    mean_squared: float  # |g bar|^2
    deviations: Vector  # |g_i - g bar|^2, (n,)
    projections: Vector  # <g_i - g bar, g bar>, (n,)
    covariance_squared: float  # tr Cov(g)^2

    @classmethod
    def of(cls, sample: NDArray[np.floating]) -> Moments:
        """Sum up n vectors `(n, Q)`, in float64."""
        vectors: Vector = np.asarray(sample, np.float64)
        with np.errstate(over="ignore", invalid="ignore"):  # what isn't finite is data
            mean = vectors.mean(0)
            centred = vectors - mean
            deviations = np.einsum("nq,nq->n", centred, centred)
            square = _covariance_squared(vectors[:PAIRED])
            return cls(float(mean @ mean), deviations, centred @ mean, square)

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

    def without_each(self) -> tuple[Vector, Vector]:
        """Give variance and squared mean norm with each vector left out, `(n,)` and `(n,)`."""
        n = self.n
        rest = self.deviations.sum() - self.deviations * n / (n - 1)
        variance = rest / (n - 2)
        mean_squared = (
            self.mean_squared - 2 * self.projections / (n - 1) + self.deviations / (n - 1) ** 2
        )
        return variance, mean_squared - variance / (n - 1)


def quantile(freedom: float, level: float = LEVEL) -> float:
    """Give the two-sided Student t quantile at a level and degrees of freedom.

    >>> round(quantile(10), 3)
    2.228
    """
    from scipy.special import stdtrit

    return float(stdtrit(freedom, 0.5 + level / 2))


def variance_interval(moments: Moments) -> Interval:
    """Bracket tr Cov(g) by a delete-one jackknife of its logarithm."""
    value = moments.variance
    if not (0 < value < math.inf):
        return Interval(value, math.nan, math.nan)
    error = _spread(np.log(moments.without_each()[0]))
    reach = quantile(moments.n - 1) * error
    return Interval(value, value * math.exp(-reach), value * math.exp(reach))


def mean_norm_interval(moments: Moments) -> Interval:
    r"""Bracket |E g|^2 by the values that the estimate doesn't refute.

    The estimate of a true value m has variance :math:`4 m s / n + 2\, \mathrm{tr} \Sigma^2 / n^2`,
    s the variance along the mean. Taking it at each candidate m, as a score interval does (Wilson,
    1927, https://doi.org/10.1080/01621459.1927.10502953), keeps the coverage where the mean can't
    be told from zero; a jackknife error, which vanishes with the estimate, covered 76 % there.
    """
    value, n = moments.mean_norm_squared, moments.n
    t2 = quantile(n - 1) ** 2
    centre = value + 2 * t2 * _along_mean(moments) / n
    constant = value**2 - 2 * t2 * moments.covariance_squared / n**2
    reach = math.sqrt(max(centre**2 - constant, 0.0))
    return Interval(value, centre - reach, centre + reach)


def noise_scale_interval(moments: Moments) -> Interval:
    r"""Bracket tr Cov(g) / |E g|^2, in tasks, by the ratios that the two estimates don't refute.

    Fieller's method (Fieller, 1954, https://doi.org/10.1111/j.2517-6161.1954.tb00159.x), with the
    variance of |E g|^2 taken at each candidate ratio as in `mean_norm_interval`. The upper end is
    infinite where |E g|^2 can't be told from zero. The ratio is B_simple of (McCandlish, Kaplan,
    Amodei & OpenAI Dota Team, 2018, https://arxiv.org/abs/1812.06162).
    """
    # |E g|^2 can't be negative; its estimate can, and then says no more than zero would.
    top, bottom, n = moments.variance, max(moments.mean_norm_squared, 0.0), moments.n
    value = top / bottom if bottom > 0 else math.inf
    t2 = quantile(n - 1) ** 2
    cov = _spreads(*moments.without_each())
    # The ratio x is kept where (top - x bottom)^2 <= t^2 Var(top - x bottom), the variance taken at
    # bottom = top / x: a x^2 - 2 b x + c <= 0.
    a = bottom**2 - 2 * t2 * moments.covariance_squared / n**2
    b = top * bottom + t2 * (2 * top * _along_mean(moments) / n - float(cov[0, 1]))
    c = top**2 - t2 * float(cov[0, 0])
    root = math.sqrt(max(b * b - a * c, 0.0))
    if a <= 0:  # bottom could be zero: every ratio beyond the low end is possible
        return Interval(value, max(c / (b + root), 0.0) if b + root > 0 else 0.0, math.inf)
    return Interval(value, max((b - root) / a, 0.0), (b + root) / a)


def tasks_to_detect(moments: Moments) -> float:
    """Give the number of tasks after which |E g|^2 would likely be told from zero.

    The spread of its estimate around zero falls like 1/n and is wanted at half the estimate, so
    that an unlucky sample resolves it too. If the estimate itself is no guide because it isn't
    positive, half its upper limit stands in for it.
    """
    interval, n = mean_norm_interval(moments), moments.n
    reach = quantile(n - 1) * math.sqrt(2 * moments.covariance_squared) / n
    target = interval.value if interval.value > 0 else interval.high / 2
    return math.inf if target <= 0 else n * max(2 * reach / target, 1.0)


class Line(NamedTuple):
    """A fitted slope with its standard error and degrees of freedom."""

    slope: float
    error: float
    freedom: float

    def interval(self, level: float = LEVEL) -> Interval:
        """Bracket the slope."""
        reach = quantile(self.freedom, level) * self.error
        return Interval(self.slope, self.slope - reach, self.slope + reach)


def log_slope(sizes: Vector, samples: list[Moments]) -> Line:
    """Fit log tr Cov(g_B) against log B, one independent sample of batch means a size.

    Each logarithm is bias-corrected by the jackknife. It weighs by its number of batch means, not
    by its own estimated error, which would favour what happens to look precise (simulated: 90 to
    94 % coverage instead of 92 to 95 %); the jackknife errors give the slope's. The degrees of
    freedom are Satterthwaite's (Satterthwaite, 1946, https://doi.org/10.2307/3002019).
    """
    x = np.log(np.asarray(sizes, np.float64))
    logs, errors = np.empty(len(x)), np.empty(len(x))
    for i, moments in enumerate(samples):
        left_out = np.log(moments.without_each()[0])
        n = moments.n
        logs[i] = n * math.log(moments.variance) - (n - 1) * left_out.mean()
        errors[i] = _spread(left_out)
    weights = np.array([moments.n - 1.0 for moments in samples])
    centre = (weights @ x) / weights.sum()
    leverage = weights * (x - centre)
    leverage /= leverage @ (x - centre)
    parts = (leverage * errors) ** 2
    freedom = parts.sum() ** 2 / sum(
        part**2 / (moments.n - 1) for part, moments in zip(parts, samples, strict=True)
    )
    return Line(float(leverage @ logs), math.sqrt(parts.sum()), freedom)


def share_interval(hits: int, count: int) -> Interval:
    """Bracket a share of `count` by the exact binomial limits.

    (Clopper & Pearson, 1934, https://doi.org/10.1093/biomet/26.4.404).
    """
    from scipy.special import betaincinv

    tail = (1 - LEVEL) / 2
    low = float(betaincinv(hits, count - hits + 1, tail)) if hits else 0.0
    high = float(betaincinv(hits + 1, count - hits, 1 - tail)) if hits < count else 1.0
    return Interval(hits / count, low, high)


def _along_mean(moments: Moments) -> float:
    """Give the variance of g along its mean direction."""
    if moments.mean_squared == 0:
        return 0.0
    return float(moments.projections.var(ddof=1)) / moments.mean_squared


def _covariance_squared(sample: Vector) -> float:
    """Estimate tr Cov^2 without bias, from inner products of different vectors alone.

    (Li & Chen, 2012, https://doi.org/10.1214/12-AOS993), equation 2.1. It doesn't depend on the
    mean, so vectors are centred first: then a row of the Gram matrix sums to zero, and the sums
    over three and four different indices follow from its diagonal.
    """
    n = len(sample)
    centred = sample - sample.mean(0)
    gram = centred @ centred.T
    diagonal = gram.diagonal()
    pairs = float((gram**2).sum() - (diagonal**2).sum())
    triples = float((diagonal**2).sum()) - pairs
    quadruples = float(diagonal.sum()) ** 2 - 4 * triples - 2 * pairs
    estimate = pairs - 2 * triples / (n - 2) + quadruples / ((n - 2) * (n - 3))
    return max(estimate / (n * (n - 1)), 0.0)


def _spread(left_out: Vector) -> float:
    """Give the jackknife standard error from delete-one values."""
    return math.sqrt(_spreads(left_out, left_out)[0, 0])


def _spreads(first: Vector, second: Vector) -> Vector:
    """Give the jackknife covariance of two statistics from their delete-one values, `(2, 2)`."""
    n = len(first)
    return np.cov(first, second, bias=True) * (n - 1)
