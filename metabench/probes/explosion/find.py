"""What the table of the explosion probe says, in sentences with numbers and repairs."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from metabench.probes.explosion.features import drifts
from metabench.probes.explosion.findings_growth import LOWER, cause, growth, own_steps
from metabench.probes.explosion.findings_rates import rates
from metabench.probes.wording import interval, number, percent, percents
from metabench.records.rows import LEVELS, Finding, Row, from_table

if TYPE_CHECKING:
    import pandas as pd

    from metabench.probes.explosion import Explosion


def find(probe: Explosion, table: pd.DataFrame) -> list[Finding]:
    """Make findings of one explosion table, the weightiest first."""
    norms = from_table(table, "norm")
    if [r.status for r in norms] == ["withheld"]:
        return [_withheld(norms[0])]
    findings = [
        *_diverged(table),
        *growth(table, norms),
        *cause(table, norms),
        *rates(table),
        *_tried(table),
        *_precision(table),
        *drifts(table, own_steps(table)),
        *_untold(table),
    ]
    return sorted(findings, key=lambda finding: LEVELS.index(finding.level))


def _withheld(norm: Row) -> Finding:
    claim = (
        "Withheld: a black box keeps its inner loop to itself, and norms that differ from step to "
        "step make another loop of it at every length, so no path can be walked."
    )
    repair = "Measure one of metabench's algorithms on the same problem (--algo maml)."
    return Finding("withheld", "info", "not_looked_at", claim, repair, (norm,))


def _untold(table: pd.DataFrame) -> list[Finding]:
    """Say why there is no growth and no stable rate where they are withheld."""
    reasons = {
        "growth": "growth over K, which takes a longer loop (--set probe.steps=..., or algo.steps "
        "where an algorithm learns something of each step)",
        "stable_rate": "stable inner rates, which follow from the Hessian for one rate above 0 of "
        "plain descent or momentum, of models that take all tasks at once",
    }
    lost = [
        row for name in reasons for row in from_table(table, name)[:1] if row.status == "withheld"
    ]
    if not lost:
        return []
    claim = f"Withheld: {'; '.join(reasons[row.quantity] for row in lost)}."
    return [
        Finding("not_computed", "info", "not_looked_at", claim, "Nothing to change.", tuple(lost))
    ]


def _diverged(table: pd.DataFrame) -> list[Finding]:
    hits = [r for r in from_table(table, "diverged") if r.status == "diverged"]
    if not hits:
        return []
    first = {r.of: r.value for r in from_table(table, "first_diverged", of=None)}
    where = ""
    if first:
        task = first.pop("task", None)
        ((place, k),) = first.items()
        what = "phi_" if "phi" in place else "v_"
        layer = place.partition(", in ")[2]
        where = f" The first to go is {what}{k:.0f} of task {task:.0f}, in {layer}."
    claim = (
        f"The meta-gradient is not finite for {percents(hits[0])} of tasks at K = {hits[0].at:.0f}"
        + (f", and for {percents(hits[-1])} at K = {hits[-1].at:.0f}" if len(hits) > 1 else "")
        + f".{where}"
    )
    repair = (
        f"{LOWER}, take fewer inner steps, or clip them (--set algo.inner_optimizer.clip_norm=10)."
    )
    level = "critical"
    if (hits[0].at or 0) > own_steps(table):
        claim += f" At your K = {own_steps(table):.0f} it is finite."
        level = "info"
    return [
        Finding(
            "diverged", level, "fault" if level == "critical" else "", claim, repair, tuple(hits)
        )
    ]


def _tried(table: pd.DataFrame) -> list[Finding]:
    """Name the mitigation that keeps the direction best among those shown to cut the variance."""
    spread = {r.of: r for r in from_table(table, "variance_left", of=None)}
    angles = {r.of: r for r in from_table(table, "cosine", of=None) if r.low is not None}
    cutting = [of for of in angles if of in spread and (spread[of].high or math.inf) < 0.5]
    if not cutting:
        return []
    best = max(cutting, key=lambda of: angles[of].low or -1.0)
    norm = next(r for r in from_table(table, "norm_kept", of=best))
    bias = next(r for r in from_table(table, "bias", of=best))
    claim = (
        f"Of what was tried at K = {norm.at:.0f} on the same tasks, {best} halves the variance or "
        f"better at the best angle: it leaves {percents(spread[best])} of it and "
        f"{percents(norm)} of the median norm, at a cosine of {number(angles[best].value)} "
        f"{interval(angles[best])} to the exact mean meta-gradient (squared bias "
        f"{number(bias.value)} {interval(bias)})."
    )
    repair = "Try it if growth is what hurts; otherwise it only adds bias."
    evidence = (spread[best], norm, angles[best], bias)
    return [Finding("mitigation", "info", "", claim, repair, evidence)]


def _precision(table: pd.DataFrame) -> list[Finding]:
    rows = [r for r in from_table(table, "float32_departure", of=None) if r.value is not None]
    if not rows:
        return []
    said = ", ".join(
        f"{r.of.removeprefix('float32 by ')} from K = {number(r.value)} {interval(r)} on"
        for r in rows
    )
    worst = from_table(table, "float32_error")[-1]
    claim = f"In half the tasks float32 departs from float64 by {said}."
    if worst.value is not None:
        claim += f" At K = {worst.at:.0f} the median difference is {percent(worst)}."
    repair = "Measure, and train, longer inner loops in float64 (--dtype float64)."
    far = [r for r in rows if "10 %" in r.of]
    level = "warning" if any((r.value or 0) <= own_steps(table) for r in far) else "info"
    return [
        Finding("precision", level, _departs(far, own_steps(table)), claim, repair, (*rows, worst))
    ]


def _departs(far: list[Row], own: float) -> str:
    """Tell whether float32 departs within the steps that are trained with; K has an interval."""
    if not far:
        return ""
    if any(row.high is not None and row.high <= own for row in far):
        return "fault"
    beyond = all(row.low is not None and row.low > own for row in far)
    return "fine" if beyond else "undecided"
