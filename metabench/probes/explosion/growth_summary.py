"""Growth over K of one table as numbers and as text, and the margins that judge it."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

from metabench.probes.wording import interval, number
from metabench.records.rows import Row, from_table

if TYPE_CHECKING:
    import pandas as pd

FINE_FACTOR = 1.1  # of growth or decay over all K measured, up to which it is fine
NOTABLE_FACTOR = 10.0  # from which it explodes or vanishes
LARGEST_EXPONENT = 700.0  # of e, near the largest float


class GrowthSummary(NamedTuple):
    """Growth over K of one table, with its intervals."""

    growth: Row  # change of log |g(K)| per inner step, of the median task
    first: Row  # the norm at the smallest K >= 1
    last: Row  # and at the largest
    amplification: tuple[Row, ...]  # |v_0| / |v_K| at the largest K
    growing: tuple[Row, ...]  # share of tasks in which it grows
    evidence: tuple[Row, ...]
    own: float  # K of the algorithm
    at_own: tuple[Row, ...] = ()  # |v_0| / |v_K| at that K

    @property
    def span(self) -> float:
        """Inner steps from the first to the last K."""
        return (self.last.at or 0) - (self.first.at or 0)

    @property
    def log_change(self) -> tuple[float, float]:
        """The interval of the change of log |g| over the span."""
        return (self.growth.low or 0.0) * self.span, (self.growth.high or 0.0) * self.span

    @property
    def fine(self) -> bool:
        """Whether the interval of the factor over the span lies within the margin."""
        return max(map(abs, self.log_change)) <= math.log(FINE_FACTOR)

    @property
    def moderate(self) -> bool:
        """Whether that interval lies outside the margin, and within tenfold."""
        low, high = self.log_change
        beyond = low > math.log(FINE_FACTOR) or high < -math.log(FINE_FACTOR)
        return beyond and max(-low, high) <= math.log(NOTABLE_FACTOR)

    @property
    def below_tenfold(self) -> bool:
        """Whether that interval lies within tenfold, of growth and of decay."""
        return max(map(abs, self.log_change)) <= math.log(NOTABLE_FACTOR)

    @property
    def factor(self) -> str:
        """The factor over the span, as text."""
        value = (self.growth.value or 0.0) * self.span
        low, high = (factor_of(end) for end in self.log_change)
        return (
            f"a factor of {number(factor_of(value))} [{number(low)}, {number(high)}] over "
            f"{self.span:.0f} steps"
        )

    @property
    def each(self) -> str:
        """The change per inner step, as text."""
        ends = f"[{percent_change(self.growth.low)}, {percent_change(self.growth.high)}]"
        return f"{percent_change(self.growth.value)} per inner step {ends}"

    @property
    def ends(self) -> str:
        """The norms at the first and last K, as text."""
        first, last = self.first, self.last
        return (
            f"the median norm goes from {number(first.value)} {interval(first)} at K = "
            f"{first.at:.0f} to {number(last.value)} {interval(last)} at K = {last.at:.0f}"
        )

    @property
    def backward(self) -> str:
        """The amplification of the backward pass, as text."""
        if not self.amplification or self.amplification[0].value is None:
            return ""
        text = (
            f" At K = {self.last.at:.0f} backpropagation through the inner loop scales the query "
            f"gradient by {_with_interval(self.amplification[0])}"
        )
        if self.at_own and self.at_own[0].value is not None and self.own != self.last.at:
            text += f", at your K = {self.own:.0f} by {_with_interval(self.at_own[0])}"
        return f"{text}."


def own_steps(table: pd.DataFrame) -> float:
    """Return the algorithm's K; what only happens in longer loops is no warning."""
    own = from_table(table, "own_steps")
    return math.inf if not own or own[0].value is None else own[0].value


def summarize_growth(table: pd.DataFrame, norms: list[Row]) -> GrowthSummary | None:
    """Return the growth of a table, or None where it has no finite interval."""
    rates = from_table(table, "growth")
    known = [r for r in norms if r.value is not None and (r.at or 0) >= 1]
    if not rates or rates[0].low is None or rates[0].high is None or len(known) < 2:
        return None
    first, last = known[0], known[-1]
    growing = from_table(table, "growing_share")
    own = own_steps(table)
    scaled = {r.at: r for r in from_table(table, "amplification_by_step")}
    amplification = [scaled[last.at]] if last.at in scaled else []
    at_own = [scaled[own]] if own in scaled else []
    exponents = from_table(table, "exponent", of=None)
    evidence = (rates[0], first, last, *growing, *amplification, *exponents)
    return GrowthSummary(
        rates[0], first, last, tuple(amplification), tuple(growing), evidence, own, tuple(at_own)
    )


def _with_interval(row: Row) -> str:
    return f"{number(row.value)} {interval(row)}"


def factor_of(logarithm: float) -> float:
    """Return the factor that a logarithm stands for, at most about the largest float."""
    return math.exp(min(logarithm, LARGEST_EXPONENT))


def percent_change(growth: float | None) -> str:
    """Return a change of the logarithm as text in percent."""
    return f"{100 * math.expm1(min(growth or 0.0, 100)):+.3g} %"
