"""Findings about growth over K: whether the meta-gradient explodes or vanishes, and what from."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

from metabench.probes.wording import interval, number, percents
from metabench.records.rows import Finding, Row, from_table

if TYPE_CHECKING:
    import pandas as pd

NOTABLE = 10.0  # times over all K looked at, below which growth or fading is told, not warned of
LOWER = "Lower the inner rate (--set algo.inner_optimizer.rate=...)"
STEADY = 1.1  # times over all K looked at, up to which a change is none to speak of
FEWER = (
    "A smaller rate slows this growth but doesn't stop it: take fewer inner steps, pull phi "
    "towards the start (--algo imaml), or truncate the way back."
)


class Grown(NamedTuple):
    """What a table says of growth over K, with its intervals."""

    growth: Row  # slope of log |g(K)| on K, the median task's
    first: Row  # the norm at the least K of 1 or more
    last: Row  # and at the largest
    back: tuple[Row, ...]  # what the way back from there multiplies by
    growing: tuple[Row, ...]  # share of tasks in which it grows
    evidence: tuple[Row, ...]
    own: float  # K that is trained with

    @property
    def span(self) -> float:
        """Steps over which it is told."""
        return (self.last.at or 0) - (self.first.at or 0)

    @property
    def steady(self) -> bool:
        """Whether the change over all K looked at surely is none to speak of."""
        ends = (self.growth.low or 0.0, self.growth.high or 0.0)
        return max(map(abs, ends)) * self.span <= math.log(STEADY)

    @property
    def each(self) -> str:
        """The change of a step, in words."""
        ends = f"[{_a_step(self.growth.low)}, {_a_step(self.growth.high)}]"
        return f"{_a_step(self.growth.value)} a step {ends}"

    @property
    def ends(self) -> str:
        """The norms at both ends, in words."""
        first, last = self.first, self.last
        return (
            f"its median norm goes from {number(first.value)} {interval(first)} at K = "
            f"{first.at:.0f} to {number(last.value)} {interval(last)} at K = {last.at:.0f}"
        )

    @property
    def passed(self) -> str:
        """What the way back does, in words."""
        if not self.back or self.back[0].value is None:
            return ""
        by = f"{number(self.back[0].value)} {interval(self.back[0])}"
        return f" The way back multiplies the query gradient by {by}."


def own_steps(table: pd.DataFrame) -> float:
    """Give the K that is trained with: what only longer loops do is told, not warned of."""
    own = from_table(table, "own_steps")
    return math.inf if not own or own[0].value is None else own[0].value


def growth(table: pd.DataFrame, norms: list[Row]) -> list[Finding]:
    """Say whether the meta-gradient explodes, vanishes or neither, where an interval does."""
    found = _grown(table, norms)
    if found is None:
        return []
    if (found.growth.low or 0.0) * found.span > math.log(NOTABLE):
        return [_explodes(found)]
    if (found.growth.high or 0.0) * found.span < -math.log(NOTABLE):
        return [_vanishes(found, table)]
    claim = (
        f"The meta-gradient neither explodes nor vanishes: it changes by {found.each}, and "
        f"{found.ends}.{found.passed}"
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


def _grown(table: pd.DataFrame, norms: list[Row]) -> Grown | None:
    slopes = from_table(table, "growth")
    held = [r for r in norms if r.value is not None and (r.at or 0) >= 1]
    if not slopes or slopes[0].low is None or slopes[0].high is None or len(held) < 2:
        return None
    first, last = held[0], held[-1]
    growing = from_table(table, "growing_share")
    back = [r for r in from_table(table, "amplification_by_step") if r.at == last.at]
    exponents = from_table(table, "exponent", of=None)
    evidence = (slopes[0], first, last, *growing, *back, *exponents)
    return Grown(slopes[0], first, last, tuple(back), tuple(growing), evidence, own_steps(table))


def _explodes(found: Grown) -> Finding:
    mine = min(found.span, found.own)  # steps that one's own loop has
    level = "warning" if (found.growth.low or 0.0) * mine > math.log(NOTABLE) else "info"
    claim = (
        f"The meta-gradient explodes: in half the tasks it grows by {found.each} or more, and "
        f"{found.ends}.{found.passed} It grows in {percents(found.growing[0])} of tasks."
    )
    repair = f"{LOWER}, take fewer inner steps, or truncate or clip the way back."
    return Finding(
        "explodes",
        level,
        "fault" if level == "warning" else "",
        claim + _so_far(found, level),
        repair,
        found.evidence,
    )


def _vanishes(found: Grown, table: pd.DataFrame) -> Finding:
    said = f"The meta-gradient vanishes by {found.each}: {found.ends}.{found.passed} "
    if not _fades(found.back):
        said += "The way back is not the cause: the query gradient itself gets small."
        repair = "Nothing to change: adaptation reaches small query gradients."
        return Finding("vanishes", "info", "", said, repair, found.evidence)
    here = [r for r in from_table(table, "amplification_by_step") if (r.at or 0) <= found.own]
    level = "warning" if _fades(here[-1:]) else "info"
    said += f"After so many steps so theta hardly matters.{_so_far(found, level)}"
    repair = "Take fewer inner steps, or weigh earlier ones as well (a multi-step loss)."
    return Finding(
        "vanishes", level, "fault" if level == "warning" else "", said, repair, found.evidence
    )


def _fades(back: tuple[Row, ...] | list[Row]) -> bool:
    return bool(back) and back[0].high is not None and back[0].high < 1 / NOTABLE


def _so_far(found: Grown, level: str) -> str:
    return f" At your K = {found.own:.0f} it has not come so far." if level == "info" else ""


def _a_step(growth: float | None) -> str:
    return f"{100 * math.expm1(min(growth or 0.0, 100)):+.3g} %"


def cause(table: pd.DataFrame, norms: list[Row]) -> list[Finding]:
    """Name what stretches where curvature stretches most, if it does in most of the tasks."""
    lines = [r for r in from_table(table, "stretching", of="curvature") if (r.low or 0) > 0]
    if not lines:
        return []
    worst = max(lines, key=lambda r: r.value or 0.0)
    over, down = (_share(table, name, worst) for name in ("overshoot", "negative_curvature"))
    claim = (
        f"At phi_{worst.at:.0f} one step stretches by up to {_a_step(worst.value)} "
        f"[{_a_step(worst.low)}, {_a_step(worst.high)}] in the median task: by overshoot "
        f"(rate times curvature beyond 2) in {percents(over)} of tasks, by negative curvature in "
        f"{percents(down)}."
    )
    evidence = (worst, over, down)
    least = "--set algo.inner_optimizer.rate=..."
    if _more(over, down):
        repair = f"Lower the inner rate below the stable one ({least}): overshoot then stops."
    elif not _more(down, over):
        repair = f"Lower the inner rate ({least}) against overshoot; fewer steps help with both."
    elif any(f.level == "warning" and f.name == "explodes" for f in growth(table, norms)):
        return [Finding("negative_curvature", "warning", "fault", claim, FEWER, evidence)]
    else:
        repair = FEWER
    return [Finding("stretching", "info", "", claim, repair, evidence)]


def _share(table: pd.DataFrame, name: str, worst: Row) -> Row:
    (found,) = (r for r in from_table(table, name, of="curvature") if r.at == worst.at)
    return found


def _more(one: Row, other: Row) -> bool:
    """Whether one share is surely the larger."""
    return (one.low or 0) > (other.high or 0)
