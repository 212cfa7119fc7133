"""Values with 95 % intervals, and the jackknife that computes them (NumPy and SciPy only)."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Vector = NDArray[np.float64]
LEVEL = 0.95  # of every interval
WIDEST_LOGARITHM = 300.0  # half width beyond which an interval says nothing, and exp overflows
LEAST_SKEWNESS = 1e-6  # below which its correction is round-off
FEWEST_TASKS_IF_SKEWED = 100  # from which on a skewed estimate gets an interval


class Interval(NamedTuple):
    """A value with its 95 % interval; an end that isn't finite is unbounded."""

    value: float
    low: float
    high: float

    @classmethod
    def from_logarithm(cls, value: float, reach: float) -> Interval:
        """Return the interval of a positive value from the half width of its logarithm's."""
        if not reach < WIDEST_LOGARITHM:
            return cls(value, 0.0, math.inf)
        return cls(value, value * math.exp(-reach), value * math.exp(reach))

    def widened(self, low: float, high: float) -> Interval:
        """Return this interval with each end moved out to `low` and `high` where those lie beyond.

        Where a few large numbers dominate, one kind of interval falls short on one side and another
        kind on the other side; the wider end on each side covers.
        """
        return Interval(self.value, min(self.low, low), max(self.high, high))


class Estimate(NamedTuple):
    """An unbiased estimate with its delete-one-task values, `(n,)`."""

    value: float
    left_out: Vector

    @classmethod
    def mean(cls, each: Vector) -> Estimate:
        """Return the mean of one value per task."""
        n, total = len(each), each.sum()
        return cls(float(total / n), (total - each) / (n - 1))

    def __add__(self, other: object) -> Estimate:
        """Return the sum of two estimates from the same tasks."""
        if not isinstance(other, Estimate):
            return NotImplemented
        return Estimate(self.value + other.value, self.left_out + other.left_out)

    def scaled(self, by: float) -> Estimate:
        """Return the estimate times a constant."""
        return Estimate(self.value * by, self.left_out * by)

    def share(self, whole: Estimate) -> Estimate:
        """Return the ratio to another estimate from the same tasks."""
        return Estimate(self.value / whole.value, self.left_out / whole.left_out)

    def interval(self) -> Interval:
        """Return the interval from the jackknife standard error and Student's t."""
        error = jackknife_error(self.left_out)
        reach = t_quantile(len(self.left_out) - 1) * error
        return Interval(self.value, self.value - reach, self.value + reach)

    def logarithmic(self) -> Interval:
        """Return the interval from the jackknife of the logarithm; NaN where not positive."""
        if not (self.value > 0 and self.left_out.min() > 0):
            return Interval(self.value, math.nan, math.nan)
        reach = t_quantile(len(self.left_out) - 1) * jackknife_error(np.log(self.left_out))
        return Interval.from_logarithm(self.value, reach)

    def skewed(self) -> Interval:
        """Return the interval of a value whose distribution is skewed to the right.

        Each end is the wider one of two intervals. The first is that of the logarithm, used once
        the value exceeds 4 standard errors; alone it covers too little where a few of few tasks
        are large (92 % at 128 tasks). The second corrects Student's t for skewness, as
        `hall_interval` does. NaN below 100 tasks, where these intervals cover less than 92 %.
        """
        n, error = len(self.left_out), jackknife_error(self.left_out)
        if n < FEWEST_TASKS_IF_SKEWED:
            return Interval(self.value, math.nan, math.nan)
        found = self.interval()
        if self.value > 4 * error:
            factor = math.exp(t_quantile(n - 1) * error / self.value)
            found = Interval(self.value, self.value / factor, self.value * factor)
        return found.widened(*self._hall_limits())

    def hall_interval(self) -> Interval:
        """Return the interval of a value skewed to either side: the wider ends of t and Hall's.

        (Hall, 1992, On the removal of skewness by transformation, J. R. Statist. Soc. B 54,
        https://doi.org/10.1111/j.2517-6161.1992.tb01876.x).
        """
        return self.interval().widened(*self._hall_limits())

    def _hall_limits(self) -> tuple[float, float]:
        """Return the limits of Student's t corrected for skewness."""
        error, reach = jackknife_error(self.left_out), t_quantile(len(self.left_out) - 1)
        bottom, top = (self.value - error * self._hall_t(t) for t in (reach, -reach))
        return bottom, top

    def _hall_t(self, t: float) -> float:
        """Return the t value of a skewed mean at the probability that `t` has without skewness."""
        away = self.left_out.mean() - self.left_out  # deviation of each task from the mean
        scale = math.sqrt(float((away**2).mean()))
        if scale == 0:
            return t
        skew = float((away**3).mean()) / scale**3 / math.sqrt(len(away))
        if abs(skew) < LEAST_SKEWNESS:
            return t
        return 3 / skew * float(np.cbrt(1 + skew * (t - skew / 6)) - 1)


def t_quantile(freedom: float, level: float = LEVEL) -> float:
    """Return the two-sided Student t quantile at a level and degrees of freedom.

    >>> round(t_quantile(10), 3)
    2.228
    """
    from scipy.special import stdtrit

    return float(stdtrit(freedom, 0.5 + level / 2))


def jackknife_error(left_out: Vector) -> float:
    """Return the jackknife standard error from delete-one values."""
    return math.sqrt(jackknife_covariance(left_out, left_out)[0, 0])


def jackknife_covariance(first: Vector, second: Vector) -> Vector:
    """Return the jackknife covariance of two statistics from delete-one values, `(2, 2)`."""
    n = len(first)
    return np.cov(first, second, bias=True) * (n - 1)
