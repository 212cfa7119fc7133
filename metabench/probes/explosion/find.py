"""Findings of the explosion probe: divergence, mitigations and precision."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from metabench.probes.explosion.features import drifts
from metabench.probes.explosion.findings_growth import LOWER_RATE, cause, growth
from metabench.probes.explosion.findings_rates import rates
from metabench.probes.explosion.growth_summary import own_steps
from metabench.probes.not_finite_inputs import with_inputs
from metabench.probes.wording import interval, number, percent, percents
from metabench.records.rows import LEVELS, Finding, Row, from_table

if TYPE_CHECKING:
    import pandas as pd

    from metabench.probes.explosion import Explosion


UNROLLED = ("explodes", "vanishes", "growth", "negative_curvature")  # only by backpropagation


def find(probe: Explosion, table: pd.DataFrame) -> list[Finding]:
    """Return the findings of one explosion table, the most severe first."""
    norms = from_table(table, "norm")
    if [r.status for r in norms] == ["withheld"]:
        return [_withheld(norms[0])]
    grown = growth(table, norms, probe.tasks)
    explodes = any(f.level == "warning" and f.name == "explodes" for f in grown)
    findings = [
        *_diverged(table),
        *grown,
        *cause(table, explodes),
        *rates(table),
        *_mitigation(table),
        *_precision(table),
        *drifts(table, own_steps(table)),
        *_not_computed(table),
    ]
    findings = [*_unrolled_only(table), *(_for_algorithm(table, each) for each in findings)]
    lost = max((row.value or 0.0 for row in from_table(table, "diverged")), default=0.0)
    findings = with_inputs(table, findings, lost)
    return sorted(findings, key=lambda finding: LEVELS.index(finding.level))


def _withheld(norm: Row) -> Finding:
    claim = (
        "Not computed: this probe needs the inner iterates. A black box does not expose its inner "
        "loop, norm layers with parameters for each step make a different loop of every K, and "
        "particles that interact (bmaml) follow no gradient of the inner loss."
    )
    repair = "Measure one of metabench's algorithms on the same problem (--algo maml)."
    return Finding("withheld", "info", "not_looked_at", claim, repair, (norm,))


def _unrolled_only(table: pd.DataFrame) -> list[Finding]:
    """Say that an algorithm does not backpropagate through all steps, as is measured here."""
    rows = from_table(table, "other_gradient", of=None)
    if not rows:
        return []
    claim = (
        "Measured is the gradient through all inner steps. Your algorithm computes its "
        f"meta-gradient {rows[0].of}, so its own estimate may grow differently with K."
    )
    return [Finding("unrolled_only", "info", "", claim, "", tuple(rows))]


def _for_algorithm(table: pd.DataFrame, finding: Finding) -> Finding:
    """Lower a warning on backpropagation if the algorithm in use does not backpropagate."""
    if finding.name not in UNROLLED or not from_table(table, "other_gradient", of=None):
        return finding
    state = "" if finding.state == "fault" else finding.state
    return finding._replace(level="info", state=state, repair="")


def _not_computed(table: pd.DataFrame) -> list[Finding]:
    """Report which of growth and stable rates are withheld, and why."""
    reasons = {
        "growth": "growth over K, which needs a longer loop (--set probe.steps=..., or algo.steps "
        "for an algorithm with parameters for each step)",
        "stable_rate": "stable inner rates, which need a single positive inner rate, plain descent "
        "or momentum, finite inner iterates, and a model that can be vectorized over tasks",
    }
    lost = [
        row for name in reasons for row in from_table(table, name)[:1] if row.status == "withheld"
    ]
    if not lost:
        return []
    claim = f"Not computed: {'; '.join(reasons[row.quantity] for row in lost)}."
    return [Finding("not_computed", "info", "not_looked_at", claim, "", tuple(lost))]


def _diverged(table: pd.DataFrame) -> list[Finding]:
    hits = [r for r in from_table(table, "diverged") if r.status == "diverged"]
    if not hits:
        return []
    first = {r.of: r.value for r in from_table(table, "first_diverged", of=None)}
    where = ""
    if first:
        task = first.pop("task", None)
        ((place, k),) = first.items()
        layer = f"`{place.partition(', in ')[2]}`"
        what = f"parameter {layer}" if "phi" in place else f"backward pass at {layer}"
        where = f" First non-finite value: task {task:.0f}, inner step {k:.0f}, {what}."
    claim = (
        f"The meta-gradient is not finite for {percents(hits[0])} of tasks at K = {hits[0].at:.0f}"
        + (f", and for {percents(hits[-1])} at K = {hits[-1].at:.0f}" if len(hits) > 1 else "")
        + f".{where}"
    )
    repair = (
        f"{LOWER_RATE}, take fewer inner steps, or clip the inner gradients "
        "(--set algo.inner_optimizer.clip_norm=10)."
    )
    if hits[0].at == 0:
        claim += " No inner step is needed for that, so the inner rate is not the cause."
        repair = "Check the query loss, theta and the tasks for NaN, infinity, log 0 and 0 / 0."
    level = "critical"
    if (hits[0].at or 0) > own_steps(table):
        claim += _finite_at_own_steps(table)
        level, repair = "info", f"For longer loops than yours: {repair[:1].lower()}{repair[1:]}"
    return [
        Finding(
            "diverged", level, "fault" if level == "critical" else "", claim, repair, tuple(hits)
        )
    ]


def _finite_at_own_steps(table: pd.DataFrame) -> str:
    """Return in how many tasks it may diverge at the algorithm's own K, where none was seen to."""
    own = own_steps(table)
    here = [row for row in from_table(table, "diverged") if row.at == own and row.high is not None]
    limit = f" (at most {percent(here[0]._replace(value=here[0].high))} of tasks)" if here else ""
    return f" At your K = {own:.0f} it was finite in every task measured{limit}."


def _mitigation(table: pd.DataFrame) -> list[Finding]:
    """Name the mitigation with the best cosine among those shown to halve the variance."""
    spread = {r.of: r for r in from_table(table, "variance_left", of=None)}
    angles = {r.of: r for r in from_table(table, "cosine", of=None) if r.low is not None}
    cutting = [of for of in angles if of in spread and (spread[of].high or math.inf) < 0.5]
    if not cutting:
        return []
    best = max(cutting, key=lambda of: angles[of].low or -1.0)
    norm = next(r for r in from_table(table, "norm_kept", of=best))
    bias = next(r for r in from_table(table, "bias", of=best))
    claim = (
        f"At K = {norm.at:.0f}, '{best}' preserves the direction best among the mitigations that "
        f"at least halve the variance. It leaves {percents(spread[best])} of the variance and "
        f"{percents(norm)} of the median norm, with a cosine of {number(angles[best].value)} "
        f"{interval(angles[best])} to the exact mean meta-gradient (squared bias "
        f"{number(bias.value)} {interval(bias)})."
    )
    repair = "Try it if the meta-gradient grows too large; otherwise it only adds bias."
    evidence = (spread[best], norm, angles[best], bias)
    return [Finding("mitigation", "info", "", claim, repair, evidence)]


def _precision(table: pd.DataFrame) -> list[Finding]:
    rows = [r for r in from_table(table, "float32_departure", of=None) if r.value is not None]
    if not rows:
        return []
    departures = " and ".join(
        f"by {r.of.removeprefix('float32 by ')} from K = {number(r.value)} {interval(r)} on"
        for r in rows
    )
    worst = from_table(table, "float32_error")[-1]
    claim = f"In half of the tasks float32 differs from float64 {departures}."
    if worst.value is not None:
        claim += f" At K = {worst.at:.0f} the median difference is {percent(worst)}."
    repair = "Measure and train longer inner loops in float64 (--dtype float64)."
    far = [r for r in rows if "10 %" in r.of]
    level = "warning" if any((r.value or 0) <= own_steps(table) for r in far) else "info"
    return [
        Finding(
            "precision",
            level,
            _precision_state(far, own_steps(table)),
            claim,
            repair,
            (*rows, worst),
        )
    ]


def _precision_state(far: list[Row], own: float) -> str:
    """Return the state of the finding: whether float32 differs by K = `own`, with K's interval."""
    if not far:
        return ""
    if any(row.high is not None and row.high <= own for row in far):
        return "fault"
    beyond = all(row.low is not None and row.low > own for row in far)
    return "fine" if beyond else "undecided"
