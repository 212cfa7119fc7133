"""What the table of the explosion probe says, in sentences with numbers and repairs."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from metabench.probes.explosion.features import drifts
from metabench.probes.wording import interval, number, percent, percents
from metabench.records.rows import LEVELS, Finding, Row, from_table

if TYPE_CHECKING:
    import pandas as pd

    from metabench.probes.explosion import Explosion

NOTABLE = 10.0  # times over all K looked at, below which growth or fading is told, not warned of
LOWER = "Lower the inner rate (--set algo.step.rate=...)"


def diagnose(probe: Explosion, table: pd.DataFrame) -> list[Finding]:
    """Make findings of one explosion table, the weightiest first."""
    norms = from_table(table, "norm")
    if [r.status for r in norms] == ["withheld"]:
        return [_withheld(norms[0])]
    findings = [
        *_diverged(table),
        *_growth(table, norms),
        *_cause(table, norms),
        *_rates(table),
        *_tried(table),
        *_precision(table),
        *drifts(table, _own(table)),
        *_untold(table),
    ]
    return sorted(findings, key=lambda finding: LEVELS.index(finding.level))


def _own(table: pd.DataFrame) -> float:
    """Give the K that is trained with: what only longer loops do is told, not warned of."""
    own = from_table(table, "own_steps")
    return math.inf if not own or own[0].value is None else own[0].value


def _withheld(norm: Row) -> Finding:
    claim = (
        "Withheld: a black box keeps its inner loop to itself, and norms that differ from step to "
        "step make another loop of it at every length, so no path can be walked."
    )
    repair = "Measure one of metabench's algorithms on the same problem (--algo maml)."
    return Finding("withheld", "info", claim, repair, (norm,))


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
    return [Finding("untold", "info", claim, "Nothing to change.", tuple(lost))]


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
    repair = f"{LOWER}, take fewer inner steps, or clip them (--set algo.step.clip_norm=10)."
    level = "critical"
    if (hits[0].at or 0) > _own(table):
        claim += f" At your K = {_own(table):.0f} it is finite."
        level = "info"
    return [Finding("diverged", level, claim, repair, tuple(hits))]


def _growth(table: pd.DataFrame, norms: list[Row]) -> list[Finding]:
    found = from_table(table, "growth")
    held = [r for r in norms if r.value is not None and (r.at or 0) >= 1]
    if not found or found[0].low is None or found[0].high is None or len(held) < 2:
        return []
    growth, first, last = found[0], held[0], held[-1]
    span = (last.at or 0) - (first.at or 0)
    mine = min(span, _own(table))  # steps that one's own loop has
    least, most = growth.low or 0.0, growth.high or 0.0
    ends = (
        f"its median norm goes from {number(first.value)} {interval(first)} at K = {first.at:.0f} "
        f"to {number(last.value)} {interval(last)} at K = {last.at:.0f}"
    )
    each = f"{_a_step(growth.value)} a step [{_a_step(growth.low)}, {_a_step(growth.high)}]"
    growing = from_table(table, "growing")
    back = [r for r in from_table(table, "passed_back") if r.at == last.at]
    evidence = (growth, first, last, *growing, *back, *from_table(table, "exponent", of=None))
    passed = (
        f" The way back multiplies the query gradient by {number(back[0].value)} "
        f"{interval(back[0])}."
        if back and back[0].value is not None
        else ""
    )
    if least * span > math.log(NOTABLE):
        claim = (
            f"The meta-gradient explodes: in half the tasks it grows by {each} or more, and {ends}."
            f"{passed} It grows in {percents(growing[0])} of tasks."
        )
        repair = f"{LOWER}, take fewer inner steps, or truncate or clip the way back."
        level = "warning" if least * mine > math.log(NOTABLE) else "info"
        return [Finding("explodes", level, claim + _so_far(table, level), repair, evidence)]
    if most * span < -math.log(NOTABLE):
        fades = bool(back and back[0].high is not None and back[0].high < 1 / NOTABLE)
        why = " so theta hardly matters." if fades else " the query gradient itself gets small."
        claim = f"The meta-gradient vanishes by {each}: {ends}.{passed}{why[0]}" + (
            f"After so many steps{why}" if fades else f"The way back is not the cause:{why}"
        )
        repair = (
            "Take fewer inner steps, or weigh earlier ones as well (a multi-step loss)."
            if fades
            else "Nothing to change: adaptation reaches small query gradients."
        )
        here = [r for r in from_table(table, "passed_back") if (r.at or 0) <= _own(table)]
        lost = bool(here) and here[-1].high is not None and here[-1].high < 1 / NOTABLE
        level = "warning" if fades and lost else "info"
        if fades:
            claim += _so_far(table, level)
        return [Finding("vanishes", level, claim, repair, evidence)]
    claim = f"The meta-gradient neither explodes nor vanishes: it changes by {each}, and {ends}."
    return [Finding("steady", "info", claim + passed, "Nothing to change.", evidence)]


def _so_far(table: pd.DataFrame, level: str) -> str:
    return f" At your K = {_own(table):.0f} it has not come so far." if level == "info" else ""


def _a_step(growth: float | None) -> str:
    return f"{100 * math.expm1(min(growth or 0.0, 100)):+.3g} %"


def _cause(table: pd.DataFrame, norms: list[Row]) -> list[Finding]:
    """Name what stretches where curvature stretches most, if it does in most of the tasks."""
    lines = [r for r in from_table(table, "stretching", of="curvature") if r.low is not None]
    lines = [r for r in lines if (r.low or 0) > 0]
    if not lines:
        return []
    worst = max(lines, key=lambda r: r.value or 0.0)
    shares = {
        name: next(r for r in from_table(table, name, of="curvature") if r.at == worst.at)
        for name in ("overshoot", "negative_curvature")
    }
    over, down = shares["overshoot"], shares["negative_curvature"]
    claim = (
        f"At phi_{worst.at:.0f} one step stretches by up to {_a_step(worst.value)} "
        f"[{_a_step(worst.low)}, {_a_step(worst.high)}] in the median task: by overshoot "
        f"(rate times curvature beyond 2) in {percents(over)} of tasks, by negative curvature in "
        f"{percents(down)}."
    )
    name, level = "stretching", "info"
    least = "--set algo.step.rate=..."
    if (over.low or 0) > (down.high or 0):
        repair = f"Lower the inner rate below the stable one ({least}): overshoot then stops."
    elif (down.low or 0) > (over.high or 0):
        if any(f.level == "warning" and f.name == "explodes" for f in _growth(table, norms)):
            name, level = "negative_curvature", "warning"
        repair = (
            "A smaller rate slows this growth but doesn't stop it: take fewer inner steps, pull "
            "phi towards the start (--algo imaml), or truncate the way back."
        )
    else:
        repair = f"Lower the inner rate ({least}) against overshoot; fewer steps help with both."
    evidence = (worst, over, down)
    return [Finding(name, level, claim, repair, evidence)]


def _rates(table: pd.DataFrame) -> list[Finding]:
    rates = {r.of: r for r in from_table(table, "stable_rate", of=None)}
    half, most = rates.get("50 % of tasks"), rates.get("95 % of tasks")
    past = from_table(table, "past_edge", of="rate")
    if half is None or most is None or not past or half.value is None or most.value is None:
        return []
    rate = past[0].at or 0.0
    claim = (
        f"At inner rate {number(rate)}, {percents(past[0])} of tasks are past the edge of "
        f"stability at phi_0 (median threshold {number(half.value)} {interval(half)}); 95 % are "
        f"stable below {number(most.value)} {interval(most)}."
    )
    counts = from_table(table, "unstable", of="rate")
    told = [r for r in counts if r.at == rate] + [
        min(counts, key=lambda r: abs(math.log((r.at or 1) / (line.value or 1))))
        for line in (most, half)
        if counts
    ]
    seen = {r.at: r for r in told}
    if seen:
        said = ", ".join(f"{percents(r)} at {number(r.at)}" for r in seen.values())
        claim += f" Counted on held-out tasks, the support loss ends higher in {said}."
    mine = seen.get(rate)
    bad = (mine.low if mine is not None else past[0].low) or 0.0
    evidence = (*past, half, most, *counts)
    if bad > 0.05:
        repair = f"Lower the inner rate to {number(most.low or most.value)} or less."
        return [Finding("past_edge", "warning", claim, repair, evidence)]
    return [Finding("stable", "info", claim, "Nothing to change.", evidence)]


def _tried(table: pd.DataFrame) -> list[Finding]:
    """Name the mitigation that keeps the direction best among those shown to cut the variance."""
    spread = {r.of: r for r in from_table(table, "variance_left", of=None)}
    angles = {r.of: r for r in from_table(table, "cosine", of=None) if r.low is not None}
    cutting = [of for of in angles if of in spread and (spread[of].high or math.inf) < 0.5]
    if not cutting:
        return []
    best = max(cutting, key=lambda of: angles[of].low or -1.0)
    norm = next(r for r in from_table(table, "norm_left", of=best))
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
    return [Finding("mitigation", "info", claim, repair, evidence)]


def _precision(table: pd.DataFrame) -> list[Finding]:
    rows = [r for r in from_table(table, "departs", of=None) if r.value is not None]
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
    level = "warning" if any((r.value or 0) <= _own(table) for r in far) else "info"
    return [Finding("precision", level, claim, repair, (*rows, worst))]
