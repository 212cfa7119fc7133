r"""Unbiased moments of meta-gradients, and intervals that cover (NumPy and SciPy only).

Everything about n meta-gradients that is needed here is in 2 n + 1 numbers: with the mean
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

Vector = NDArray[np.float64]
LEVEL = 0.95  # of every interval
MOST = 300.0  # a logarithm's reach beyond which an interval says nothing, and exp overflows
TINY = 1e-6  # skewness below which its correction is round-off
RESOLVED = 100  # tasks from which on a skewed estimate gets an interval


class Interval(NamedTuple):
    """A value with its 95 % interval; an end that isn't finite is unbounded."""

    value: float
    low: float
    high: float


class Estimate(NamedTuple):
    """An unbiased estimate with its values where each task is left out, `(n,)`."""

    value: float
    left_out: Vector

    @classmethod
    def mean(cls, each: Vector) -> Estimate:
        """Average one value a task."""
        n, total = len(each), each.sum()
        return cls(float(total / n), (total - each) / (n - 1))

    def __add__(self, other: object) -> Estimate:
        """Add two estimates from the same tasks."""
        if not isinstance(other, Estimate):
            return NotImplemented
        return Estimate(self.value + other.value, self.left_out + other.left_out)

    def scaled(self, by: float) -> Estimate:
        """Multiply by a constant."""
        return Estimate(self.value * by, self.left_out * by)

    def share(self, whole: Estimate) -> Estimate:
        """Divide by another estimate from the same tasks."""
        return Estimate(self.value / whole.value, self.left_out / whole.left_out)

    def interval(self) -> Interval:
        """Bracket the value by the jackknife's standard error and Student's t."""
        error = spread(self.left_out)
        reach = quantile(len(self.left_out) - 1) * error
        return Interval(self.value, self.value - reach, self.value + reach)

    def logarithmic(self) -> Interval:
        """Bracket a positive value by the jackknife of its logarithm; NaN where it isn't."""
        if not (self.value > 0 and self.left_out.min() > 0):
            return Interval(self.value, math.nan, math.nan)
        reach = quantile(len(self.left_out) - 1) * spread(np.log(self.left_out))
        if not reach < MOST:
            return Interval(self.value, 0.0, math.inf)
        return Interval(self.value, self.value * math.exp(-reach), self.value * math.exp(reach))

    def skewed(self) -> Interval:
        """Bracket what is skewed to the right: by the wider end of two intervals, on either side.

        One is the logarithm's, once 4 errors from zero; it misses from below where tasks are few
        and a few of them large (92 % at 128 tasks). The other takes that skewness out of Student's
        t, as `leaning` does. NaN below a hundred tasks, where such intervals cover less than 92 %.
        """
        n, error = len(self.left_out), spread(self.left_out)
        if n < RESOLVED:
            return Interval(self.value, math.nan, math.nan)
        bottom, top = self._leaning()
        if self.value > 4 * error:
            factor = math.exp(quantile(n - 1) * error / self.value)
            return Interval(self.value, min(self.value / factor, bottom),
                            max(self.value * factor, top))  # fmt: skip
        low, high = self.interval()[1:]
        return Interval(self.value, min(low, bottom), max(high, top))

    def leaning(self) -> Interval:
        """Bracket what may be skewed to either side, by the wider end of Student's t and Hall's.

        (Hall, 1992, On the removal of skewness by transformation, J. R. Statist. Soc. B 54,
        https://doi.org/10.1111/j.2517-6161.1992.tb01876.x).
        """
        value, low, high = self.interval()
        bottom, top = self._leaning()
        return Interval(value, min(low, bottom), max(high, top))

    def _leaning(self) -> tuple[float, float]:
        """Give the limits of Student's t once skewness is taken out."""
        error, reach = spread(self.left_out), quantile(len(self.left_out) - 1)
        bottom, top = (self.value - error * self._straight(t) for t in (reach, -reach))
        return bottom, top

    def _straight(self, t: float) -> float:
        """Give the t of a skewed mean whose probability is that of `t` where nothing is skewed."""
        away = self.left_out.mean() - self.left_out  # as far as each task is from the mean
        scale = math.sqrt(float((away**2).mean()))
        if scale == 0:
            return t
        skew = float((away**3).mean()) / scale**3 / math.sqrt(len(away))
        if abs(skew) < TINY:
            return t
        return 3 / skew * float(np.cbrt(1 + skew * (t - skew / 6)) - 1)


class Moments(NamedTuple):
    """What a sample of n vectors says of its mean and covariance."""

    mean_squared: float  # |g bar|^2
    deviations: Vector  # |g_i - g bar|^2, (n,)
    projections: Vector  # <g_i - g bar, g bar>, (n,)
    crossings: Vector  # <g_i - g bar, g_j - g bar> with j a third of the sample further, (n,)

    @classmethod
    def of(cls, sample: NDArray[np.floating]) -> Moments:
        """Sum up n vectors `(n, Q)`, in float64."""
        sample = np.asarray(sample, np.float64)
        with np.errstate(over="ignore", invalid="ignore"):  # what isn't finite is data
            mean = sample.mean(0)
            centred = sample - mean
            deviations = np.einsum("nq,nq->n", centred, centred)
            far = np.roll(centred, len(centred) // 3, axis=0)
            crossings = np.einsum("nq,nq->n", centred, far)
            return cls(float(mean @ mean), deviations, centred @ mean, crossings)

    @classmethod
    def joined(cls, parts: Iterable[Moments]) -> Moments:
        """Put the parts of a vector together, e.g. layers: every number adds up."""
        return cls(*(sum(each) for each in zip(*parts, strict=True)))

    @classmethod
    def weighted(cls, *parts: tuple[float, Moments]) -> Moments:
        """Add multiples: squares of a x + b y are linear in those of x, y and x - y."""
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
        """Give tr Cov(g) and |E g|^2 with their delete-one values."""
        variance, squared = self.without_each()
        return Estimate(self.variance, variance), Estimate(self.mean_norm_squared, squared)

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
    with np.errstate(divide="ignore", invalid="ignore"):  # one vector may carry all the variance
        error = spread(np.log(moments.without_each()[0]))
    reach = quantile(moments.n - 1) * error
    if not reach < MOST:
        return Interval(value, 0.0, math.inf)
    return Interval(value, value * math.exp(-reach), value * math.exp(reach))


def skewed_variance_interval(moments: Moments) -> Interval:
    """Bracket tr Cov(g) by the wider end of the logarithm's interval and Hall's, on either side.

    Where a few of a hundred vectors make the variance, the logarithm's alone covered 91 %.
    """
    value, low, high = variance_interval(moments)
    if not low > 0 or not high < math.inf:
        return Interval(value, low, high)
    _, bottom, top = moments.estimates()[0].leaning()
    return Interval(value, max(min(low, bottom), 0.0), max(high, top))


def mean_norm_interval(moments: Moments) -> Interval:
    r"""Bracket |E g|^2 by every value T that its estimate doesn't refute (a score interval).

    The estimate varies by :math:`4 T \lambda / n + 2 \operatorname{tr} \Sigma^2 / n^2`, with lambda
    the variance along the mean. Its second part is what is left where the mean is zero; taking the
    first at the T asked about, not at the estimate, keeps the coverage there (Wilson, 1927,
    https://doi.org/10.1080/01621459.1927.10502953): a jackknife's is 76 % in two dimensions.
    """
    value, t2 = moments.mean_norm_squared, quantile(moments.n - 1) ** 2
    slope, floor = _null_variance(moments)
    centre = value + t2 * slope / 2
    reach = math.sqrt(max(centre**2 - value**2 + t2 * floor, 0.0))
    # An estimate far below zero, where |E g|^2 can't be, is still inside its own interval.
    return Interval(value, min(centre - reach, value), centre + reach)


def _null_variance(moments: Moments) -> tuple[float, float]:
    """Give s and f in Var = s T + f, the variance of the estimate where |E g|^2 is T."""
    if moments.mean_squared == 0:
        return 0.0, 0.0
    slope = spread(moments.without_each()[1]) ** 2 / moments.mean_squared
    return slope, 2 * float((moments.crossings**2).mean()) / moments.n**2


def noise_scale_interval(moments: Moments) -> Interval:
    r"""Bracket tr Cov(g) / |E g|^2, in tasks, by Fieller's method on jackknife errors.

    The interval holds every ratio that the two means don't refute (Fieller, 1954,
    https://doi.org/10.1111/j.2517-6161.1954.tb00159.x). Its upper end is infinite where |E g|^2
    can't be told from zero. The ratio is B_simple of (McCandlish, Kaplan, Amodei & OpenAI Dota
    Team, 2018, https://arxiv.org/abs/1812.06162).
    """
    return ratio_interval(moments.estimates()[0], moments)


def ratio_interval(top: Estimate, moments: Moments) -> Interval:
    """Bracket the ratio, 0 or more, of an estimate to the |E g|^2 of vectors of the same tasks.

    |E g|^2 can't be negative; its estimate can, and then says no more than zero would.
    """
    bottom = moments.estimates()[1]
    below = max(bottom.value, 0.0)
    value = top.value / below if below > 0 else math.inf
    value = value if top.value > 0 else 0.0
    t2 = quantile(moments.n - 1) ** 2
    cov = spreads(top.left_out, bottom.left_out)
    slope, floor = _null_variance(moments)
    # The ratio x is kept where (top - x below)^2 <= t^2 Var(top - x below), with the variance of
    # the bottom taken at top / x, i.e. a x^2 - 2 b x + c <= 0.
    a = float(below**2 - t2 * floor)
    b = float(top.value * below + t2 * (slope * max(top.value, 0.0) / 2 - cov[0, 1]))
    c = float(top.value**2 - t2 * cov[0, 0])
    root = math.sqrt(max(b * b - a * c, 0.0))
    if a <= 0 and top.value <= 0:  # a ratio below zero, if the top isn't zero itself
        return Interval(value, 0.0, 0.0 if c > 0 else math.inf)
    if a <= 0:  # the bottom could be zero: every ratio beyond the low end is possible
        low = max(c / (b + root), 0.0) if b + root > 0 else math.inf
        return Interval(value, low, math.inf)
    return Interval(value, max((b - root) / a, 0.0), max((b + root) / a, 0.0))


def tasks_to_detect(moments: Moments) -> float:
    """Give the number of tasks after which |E g|^2 would likely be told from zero.

    While noise dominates, its standard error falls like 1/n; it is wanted three times smaller
    than would just do, so that an unlucky sample resolves it too. If the estimate itself is no
    guide because it isn't positive, half its upper limit stands in for it.
    """
    interval = mean_norm_interval(moments)
    reach = quantile(moments.n - 1) * math.sqrt(_null_variance(moments)[1])
    target = interval.value if interval.value > 0 else interval.high / 2
    return math.inf if target <= 0 else moments.n * max(3 * reach / target, 2.0)


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
        n = moments.n
        # one batch may make all of the variance: then no slope is finite
        with np.errstate(divide="ignore", invalid="ignore"):
            left_out = np.log(moments.without_each()[0])
            logs[i] = n * math.log(moments.variance) - (n - 1) * left_out.mean()
            errors[i] = spread(left_out)
    weights = np.array([moments.n - 1.0 for moments in samples])
    centre = (weights @ x) / weights.sum()
    leverage = weights * (x - centre)
    leverage /= leverage @ (x - centre)
    parts = (leverage * errors) ** 2
    freedom = parts.sum() ** 2 / sum(
        part**2 / (moments.n - 1) for part, moments in zip(parts, samples, strict=True)
    )
    return Line(float(leverage @ logs), math.sqrt(parts.sum()), freedom)


def share_interval(hits: float, count: float) -> Interval:
    """Bracket a share of `count` by the exact binomial limits, between whole numbers as well.

    (Clopper & Pearson, 1934, https://doi.org/10.1093/biomet/26.4.404).
    """
    from scipy.special import betaincinv

    tail = (1 - LEVEL) / 2
    low = float(betaincinv(hits, count - hits + 1, tail)) if hits else 0.0
    high = float(betaincinv(hits + 1, count - hits, 1 - tail)) if hits < count else 1.0
    return Interval(hits / count, low, high)


def spread(left_out: Vector) -> float:
    """Give the jackknife standard error from delete-one values."""
    return math.sqrt(spreads(left_out, left_out)[0, 0])


def spreads(first: Vector, second: Vector) -> Vector:
    """Give the jackknife covariance of two statistics from their delete-one values, `(2, 2)`."""
    n = len(first)
    return np.cov(first, second, bias=True) * (n - 1)
