"""A value with its interval, and the jackknife that gives it (NumPy and SciPy only)."""

from __future__ import annotations

import math
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

    @classmethod
    def of_logarithm(cls, value: float, reach: float) -> Interval:
        """Bracket a positive value whose logarithm reaches so far to either side."""
        if not reach < MOST:
            return cls(value, 0.0, math.inf)
        return cls(value, value * math.exp(-reach), value * math.exp(reach))

    def widened(self, low: float, high: float) -> Interval:
        """Let either end lie at least as far out as another interval's of the same value.

        Where a few large numbers make the value, one interval falls short on one side, another on
        the other; the wider of both covers.
        """
        return Interval(self.value, min(self.low, low), max(self.high, high))


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
        return Interval.of_logarithm(self.value, reach)

    def skewed(self) -> Interval:
        """Bracket what is skewed to the right: by the wider end of two intervals, on either side.

        One is the logarithm's, once 4 errors from zero; it misses from below where tasks are few
        and a few of them large (92 % at 128 tasks). The other takes that skewness out of Student's
        t, as `leaning` does. NaN below a hundred tasks, where such intervals cover less than 92 %.
        """
        n, error = len(self.left_out), spread(self.left_out)
        if n < RESOLVED:
            return Interval(self.value, math.nan, math.nan)
        found = self.interval()
        if self.value > 4 * error:
            factor = math.exp(quantile(n - 1) * error / self.value)
            found = Interval(self.value, self.value / factor, self.value * factor)
        return found.widened(*self._leaning())

    def leaning(self) -> Interval:
        """Bracket what may be skewed to either side, by the wider end of Student's t and Hall's.

        (Hall, 1992, On the removal of skewness by transformation, J. R. Statist. Soc. B 54,
        https://doi.org/10.1111/j.2517-6161.1992.tb01876.x).
        """
        return self.interval().widened(*self._leaning())

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


def quantile(freedom: float, level: float = LEVEL) -> float:
    """Give the two-sided Student t quantile at a level and degrees of freedom.

    >>> round(quantile(10), 3)
    2.228
    """
    from scipy.special import stdtrit

    return float(stdtrit(freedom, 0.5 + level / 2))


def spread(left_out: Vector) -> float:
    """Give the jackknife standard error from delete-one values."""
    return math.sqrt(spreads(left_out, left_out)[0, 0])


def spreads(first: Vector, second: Vector) -> Vector:
    """Give the jackknife covariance of two statistics from their delete-one values, `(2, 2)`."""
    n = len(first)
    return np.cov(first, second, bias=True) * (n - 1)
