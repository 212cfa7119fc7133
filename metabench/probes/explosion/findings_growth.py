"""Findings on growth over K: whether the meta-gradient explodes or vanishes, and the cause."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

from metabench.probes.wording import interval, number, percents
from metabench.records.rows import Finding, Row, from_table

if TYPE_CHECKING:
    import pandas as pd

NOTABLE_FACTOR = 10.0  # of growth or decay over all K measured, from which it is a finding
LOWER_RATE = "Lower the inner rate (--set algo.inner_optimizer.rate=...)"
STEADY_FACTOR = 1.1  # of growth or decay over all K measured, up to which it is negligible
FEWER_STEPS = (
    "A smaller rate slows this growth but doesn't stop it: take fewer inner steps, add a proximal "
    "term (--algo imaml), or truncate backpropagation."
)
NOT_SHOWN = "is not shown to explode or vanish"


class GrowthSummary(NamedTuple):
    """Growth over K of one table, with its intervals."""

    growth: Row  # change of log |g(K)| per inner step, of the median task
    first: Row  # the norm at the smallest K >= 1
    last: Row  # and at the largest
    amplification: tuple[Row, ...]  # |v_0| / |v_K| at the largest K
    growing: tuple[Row, ...]  # share of tasks in which it grows
    evidence: tuple[Row, ...]
    own: float  # K of the algorithm

    @property
    def span(self) -> float:
        """Inner steps from the first to the last K."""
        return (self.last.at or 0) - (self.first.at or 0)

    @property
    def steady(self) -> bool:
        """Whether the change over all K is shown to be negligible."""
        return self._largest_log_change <= math.log(STEADY_FACTOR)

    @property
    def moderate(self) -> bool:
        """Whether the change over all K is shown to be less than tenfold."""
        return self._largest_log_change <= math.log(NOTABLE_FACTOR)

    @property
    def _largest_log_change(self) -> float:
        ends = (self.growth.low or 0.0, self.growth.high or 0.0)
        return max(map(abs, ends)) * self.span

    @property
    def each(self) -> str:
        """The change per inner step, as text."""
        ends = f"[{_percent_change(self.growth.low)}, {_percent_change(self.growth.high)}]"
        return f"{_percent_change(self.growth.value)} per inner step {ends}"

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
        by = f"{number(self.amplification[0].value)} {interval(self.amplification[0])}"
        return f" Backpropagation through the inner loop scales the query gradient by {by}."


def own_steps(table: pd.DataFrame) -> float:
    """Return the algorithm's K; what only happens in longer loops is no warning."""
    own = from_table(table, "own_steps")
    return math.inf if not own or own[0].value is None else own[0].value


def growth(table: pd.DataFrame, norms: list[Row]) -> list[Finding]:
    """Report whether the meta-gradient explodes or vanishes, judged by the interval of growth."""
    found = _summarize_growth(table, norms)
    if found is None:
        return []
    if (found.growth.low or 0.0) * found.span > math.log(NOTABLE_FACTOR):
        return [_explodes(found)]
    if (found.growth.high or 0.0) * found.span < -math.log(NOTABLE_FACTOR):
        return [_vanishes(found, table)]
    neither = "neither explodes nor vanishes" if found.moderate else NOT_SHOWN
    claim = (
        f"The meta-gradient {neither}: in the median task its norm changes by {found.each}, and "
        f"{found.ends}.{found.backward}"
    )
    return [
        Finding(
            "steady",
            "info",
            "fine" if found.steady else "undecided",
            claim,
            "Nothing to change.",
            found.evidence,
        )
    ]


def _summarize_growth(table: pd.DataFrame, norms: list[Row]) -> GrowthSummary | None:
    rates = from_table(table, "growth")
    known = [r for r in norms if r.value is not None and (r.at or 0) >= 1]
    if not rates or rates[0].low is None or rates[0].high is None or len(known) < 2:
        return None
    first, last = known[0], known[-1]
    growing = from_table(table, "growing_share")
    amplification = [r for r in from_table(table, "amplification_by_step") if r.at == last.at]
    exponents = from_table(table, "exponent", of=None)
    evidence = (rates[0], first, last, *growing, *amplification, *exponents)
    return GrowthSummary(
        rates[0], first, last, tuple(amplification), tuple(growing), evidence, own_steps(table)
    )


def _explodes(found: GrowthSummary) -> Finding:
    steps = min(found.span, found.own)  # steps of the algorithm's loop
    level = "warning" if (found.growth.low or 0.0) * steps > math.log(NOTABLE_FACTOR) else "info"
    claim = (
        f"The meta-gradient explodes: in half of the tasks its norm changes by {found.each} or "
        f"more, and {found.ends}.{found.backward} It grows in {percents(found.growing[0])} of "
        "tasks."
    )
    repair = f"{LOWER_RATE}, take fewer inner steps, truncate backpropagation, or clip."
    return Finding(
        "explodes",
        level,
        "fault" if level == "warning" else "",
        claim + _at_own_steps(found, level),
        repair,
        found.evidence,
    )


def _vanishes(found: GrowthSummary, table: pd.DataFrame) -> Finding:
    claim = (
        f"The meta-gradient vanishes: in the median task its norm changes by {found.each}, and "
        f"{found.ends}.{found.backward} "
    )
    if not _fades(found.amplification):
        claim += "Backpropagation is not the cause: the query gradient itself becomes small."
        repair = "Nothing to change: adaptation reaches a small query gradient."
        return Finding("vanishes", "info", "", claim, repair, found.evidence)
    here = [r for r in from_table(table, "amplification_by_step") if (r.at or 0) <= found.own]
    level = "warning" if _fades(here[-1:]) else "info"
    claim += (
        f"After so many steps theta hardly affects the query loss.{_at_own_steps(found, level)}"
    )
    repair = "Take fewer inner steps, or add the query losses of earlier steps (a multi-step loss)."
    return Finding(
        "vanishes", level, "fault" if level == "warning" else "", claim, repair, found.evidence
    )


def _fades(back: tuple[Row, ...] | list[Row]) -> bool:
    return bool(back) and back[0].high is not None and back[0].high < 1 / NOTABLE_FACTOR


def _at_own_steps(found: GrowthSummary, level: str) -> str:
    if level == "warning":
        return ""
    return f" At your K = {found.own:.0f} the change is still below the threshold (tenfold)."


def _percent_change(growth: float | None) -> str:
    return f"{100 * math.expm1(min(growth or 0.0, 100)):+.3g} %"


def cause(table: pd.DataFrame, norms: list[Row]) -> list[Finding]:
    """Report the cause of stretching at the K where inner steps stretch most, if they do."""
    lines = [r for r in from_table(table, "stretching", of="curvature") if (r.low or 0) > 0]
    if not lines:
        return []
    worst = max(lines, key=lambda r: r.value or 0.0)
    over, down = (_share_at(table, name, worst) for name in ("overshoot", "negative_curvature"))
    claim = (
        f"At phi_{worst.at:.0f} one inner step changes distances by up to "
        f"{_percent_change(worst.value)} [{_percent_change(worst.low)}, "
        f"{_percent_change(worst.high)}] (median task). The cause is overshoot (rate times "
        f"curvature above 2) in {percents(over)} of tasks, and negative curvature in "
        f"{percents(down)}."
    )
    evidence = (worst, over, down)
    setting = "--set algo.inner_optimizer.rate=..."
    if _surely_larger(over, down):
        repair = f"Lower the inner rate below the stable rate ({setting}) to stop the overshoot."
    elif not _surely_larger(down, over):
        repair = f"Lower the inner rate ({setting}) against overshoot; fewer steps reduce both."
    elif any(f.level == "warning" and f.name == "explodes" for f in growth(table, norms)):
        return [Finding("negative_curvature", "warning", "fault", claim, FEWER_STEPS, evidence)]
    else:
        repair = FEWER_STEPS
    return [Finding("stretching", "info", "", claim, repair, evidence)]


def _share_at(table: pd.DataFrame, name: str, worst: Row) -> Row:
    (found,) = (r for r in from_table(table, name, of="curvature") if r.at == worst.at)
    return found


def _surely_larger(one: Row, other: Row) -> bool:
    """Return whether the interval of one share lies above that of the other."""
    return (one.low or 0) > (other.high or 0)
