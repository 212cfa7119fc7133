"""Findings on growth over K: whether the meta-gradient explodes or vanishes, and the cause."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from metabench.probes.explosion.findings_no_growth import doubts, neither, without_interval
from metabench.probes.explosion.growth_summary import (
    NOTABLE_FACTOR,
    GrowthSummary,
    factor_of,
    own_steps,
    percent_change,
    summarize_growth,
)
from metabench.probes.wording import number, percents
from metabench.records.rows import Finding, Row, from_table

if TYPE_CHECKING:
    import pandas as pd

LOWER_RATE = "Lower the inner rate (--set algo.inner_optimizer.rate=...)"
FEWER_STEPS = (
    "A smaller rate slows this growth but doesn't stop it: take fewer inner steps, truncate "
    "backpropagation, or add a proximal term to the inner loss, as imaml does."
)
SETTING = "--set algo.inner_optimizer.rate=..."
TENFOLD = math.log(NOTABLE_FACTOR)


def growth(table: pd.DataFrame, norms: list[Row], tasks: int) -> list[Finding]:
    """Report whether the meta-gradient explodes or vanishes, judged by the interval of growth.

    Args:
        table: a measured table.
        norms: its rows `norm`.
        tasks: that were measured.
    """
    found = summarize_growth(table, norms)
    if found is None:
        return without_interval(table, tasks)
    low, high = found.log_change
    if low > math.log(NOTABLE_FACTOR):
        return [_explodes(found)]
    if high < -math.log(NOTABLE_FACTOR):
        return [_vanishes(found, table)]
    return [neither(found, doubts(table, norms), tasks)]


def _explodes(found: GrowthSummary) -> Finding:
    steps = min(found.span, found.own)  # steps of the algorithm's loop
    least, most = ((end or 0.0) * steps for end in (found.growth.low, found.growth.high))
    state = _state_at_own_steps(least > TENFOLD, most <= TENFOLD)
    claim = (
        f"The meta-gradient explodes: in half of the tasks its norm changes by {found.each} or "
        f"more, and {found.ends}.{found.backward} It grows in {percents(found.growing[0])} of "
        "tasks."
    )
    repair = f"{LOWER_RATE}, take fewer inner steps, truncate backpropagation, or clip."
    claim += _at_own_steps(found, state)
    repair = repair if state else ""  # what only longer loops do calls for no change
    return Finding("explodes", _level(state), state, claim, repair, found.evidence)


def _vanishes(found: GrowthSummary, table: pd.DataFrame) -> Finding:
    claim = (
        f"The meta-gradient vanishes: in the median task its norm changes by {found.each}, and "
        f"{found.ends}.{found.backward} "
    )
    if not _fades(found.amplification):
        return _small_query_gradient(found, claim)
    here = [r for r in from_table(table, "amplification_by_step") if (r.at or 0) <= found.own]
    state = _state_at_own_steps(_fades(here[-1:]), not here or _keeps(here[-1:]))
    claim += (
        f"Over these steps backpropagation shrinks the query gradient more than tenfold, so theta "
        f"hardly affects the query loss at K = {found.last.at:.0f}.{_at_own_steps(found, state)}"
    )
    repair = "Take fewer inner steps, or add the query losses of earlier steps (a multi-step loss)."
    repair = repair if state else ""
    return Finding("vanishes", _level(state), state, claim, repair, found.evidence)


def _small_query_gradient(found: GrowthSummary, claim: str) -> Finding:
    """Return the finding of a meta-gradient that vanishes without backpropagation's doing."""
    if _keeps(found.amplification):
        claim += "Backpropagation is not the cause: the query gradient itself becomes small."
        return Finding("vanishes", "info", "", claim, "", found.evidence)
    claim += (
        "Whether backpropagation or a small query gradient is the cause can't be told: the "
        "interval of the amplification includes 0.1."
    )
    repair = "Measure more tasks (--tasks)."
    return Finding("vanishes", "info", "undecided", claim, repair, found.evidence)


def _fades(back: tuple[Row, ...] | list[Row]) -> bool:
    """Return whether the amplification is shown to be below a tenth."""
    return bool(back) and back[0].high is not None and back[0].high < 1 / NOTABLE_FACTOR


def _keeps(back: tuple[Row, ...] | list[Row]) -> bool:
    """Return whether the amplification is shown to be a tenth or more."""
    return bool(back) and back[0].low is not None and back[0].low >= 1 / NOTABLE_FACTOR


def _state_at_own_steps(beyond: bool, within: bool) -> str:
    """Return fault where the algorithm's own loop is beyond the threshold; "" where it is within.

    What only longer loops do is a remark; where neither is shown, it is undecided.
    """
    return "fault" if beyond else "" if within else "undecided"


def _level(state: str) -> str:
    return "warning" if state == "fault" else "info"


def _at_own_steps(found: GrowthSummary, state: str) -> str:
    if state == "fault":
        return ""
    if state == "undecided":
        return f" At your K = {found.own:.0f} it can't be told whether the change exceeds tenfold."
    return f" At your K = {found.own:.0f} the change is still below the threshold (tenfold)."


def cause(table: pd.DataFrame, explodes: bool) -> list[Finding]:
    """Report the cause of stretching at the K where inner steps stretch most, if they do.

    Only steps within the algorithm's own loop call for a change. With `explodes`, the meta-gradient
    is known to explode within them.
    """
    lines = [r for r in from_table(table, "stretching", of="curvature") if (r.low or 0) > 0]
    if not lines:
        return []
    own = own_steps(table)
    within = [r for r in lines if (r.at or 0) < own]
    worst = max(within or lines, key=lambda r: r.value or 0.0)
    over, down = (_share_at(table, name, worst) for name in ("overshoot", "negative_curvature"))
    claim = (
        f"At phi_{worst.at:.0f} one inner step changes the distance of two iterates by up to "
        f"{percent_change(worst.value)} [{percent_change(worst.low)}, "
        f"{percent_change(worst.high)}] (median task). The cause is overshoot (rate times "
        f"curvature above 2) in {percents(over)} of tasks, and negative curvature in "
        f"{percents(down)}."
    )
    evidence = (worst, over, down)
    if not within:
        claim += f" This lies beyond your loop of K = {own:.0f}."
        return [Finding("stretching", "info", "", claim, "", evidence)]
    if explodes and _surely_larger(down, over):
        return [Finding("negative_curvature", "warning", "fault", claim, FEWER_STEPS, evidence)]
    more, repair = _advice(worst, over, down, own)
    return [Finding("stretching", "info", "", claim + more, repair, evidence)]


def _advice(worst: Row, over: Row, down: Row, own: float) -> tuple[str, str]:
    """Return what follows for the algorithm's own loop, and what to change.

    Args:
        worst: stretching at the step that stretches most.
        over: share of tasks in which overshoot is the cause.
        down: share of tasks in which negative curvature is.
        own: K of the algorithm.
    """
    if _surely_larger(down, over):
        tenfold = (worst.high or 0.0) * own > TENFOLD
        return _over_own_steps(worst, own), FEWER_STEPS if tenfold else ""
    if _surely_larger(over, down):
        return "", f"Lower the inner rate below the stable rate ({SETTING}) to stop the overshoot."
    return "", f"Lower the inner rate ({SETTING}) against overshoot; fewer steps reduce both."


def _over_own_steps(worst: Row, own: float) -> str:
    """Return the factor that the algorithm's own loop reaches, if every step stretches so much."""
    if own == math.inf:
        return ""
    value, low, high = (
        number(factor_of((end or 0.0) * own)) for end in (worst.value, worst.low, worst.high)
    )
    return f" Over your K = {own:.0f} that is at most a factor of {value} [{low}, {high}]."


def _share_at(table: pd.DataFrame, name: str, worst: Row) -> Row:
    (found,) = (r for r in from_table(table, name, of="curvature") if r.at == worst.at)
    return found


def _surely_larger(one: Row, other: Row) -> bool:
    """Return whether the interval of one share lies above that of the other."""
    return (one.low or 0) > (other.high or 0)
