"""Findings of the variance table: divergence, noise scale, independence, and those of findings/."""

from __future__ import annotations

from typing import TYPE_CHECKING

from metabench.probes.variance.findings import tails
from metabench.probes.variance.findings.advice import advice
from metabench.probes.variance.findings.bias import bias
from metabench.probes.variance.findings.outer import outer
from metabench.probes.variance.findings.sources import sources
from metabench.probes.wording import interval, number, percent
from metabench.records.rows import LEVELS, Finding, Row, Rows, by_quantity, from_table

if TYPE_CHECKING:
    import pandas as pd

    from metabench.probes.variance import Variance

# A slope's interval wider than this includes both independent tasks and tasks that share an error
# at most sizes, so nothing is claimed.
WIDEST_SLOPE_INTERVAL = 0.5
SLOPE_MARGIN = 0.05  # about -1: tasks whose interval lies within it count as independent
SUFFICIENT_NOISE_SCALES = 2.0  # B over the noise scale's upper end above which B is enough


def find(probe: Variance, whole: pd.DataFrame) -> list[Finding]:
    """Return the findings of a whole variance table, the most severe first."""
    table, batch = by_quantity(whole), probe.batch
    largest = max((int(r.at or 0) for r in from_table(table, "snr")), default=1)
    noise = _noise(table, batch)
    # sources and amplification of the noise are warnings only where there is too much of it
    noisy = any(finding.level != "info" for finding in noise) or not noise
    by_source = [f if noisy else _as_info(f) for f in sources(table)]
    dominant = [finding for finding in by_source if finding.level == "warning"]
    findings = [
        *_divergence(table, batch),
        *tails.pool(table, probe.tasks),
        *tails.heavy(table),
        *dominant,
        *noise,
        *_independence(table, largest),
        *(finding for finding in by_source if finding not in dominant),
        *outer(table, batch),
        *advice(table),
        *(
            f if noisy or f.name != "amplification" else _as_info(f)
            for f in bias(table, batch)
        ),
    ]  # fmt: skip
    return sorted(findings, key=lambda finding: LEVELS.index(finding.level))


def _as_info(finding: Finding) -> Finding:
    """Lower a finding to information, without the state of a fault."""
    state = "" if finding.state == "fault" else finding.state
    return finding._replace(level="info", state=state)


def _divergence(table: Rows, batch: int) -> list[Finding]:
    hit = [r for r in from_table(table, "diverged") if r.status == "diverged"]
    if not hit:
        return _overflow(table)
    alone = hit[0]
    where = from_table(table, "first_diverged")
    first = f" (first: task {where[0].value:.0f})" if where else ""
    claim = (
        f"{percent(alone)} of {_batches(alone.at)} give a non-finite meta-gradient{first}, "
        "so the variance does not exist at these settings."
    )
    if alone.at == 1 and alone.value is not None:
        hit_share = 1 - (1 - alone.value) ** batch
        claim += f" A batch of {batch} contains at least one with probability {hit_share:.0%}."
    repair = (
        "Lower the inner rate (--set algo.inner_optimizer.rate=...), take fewer inner steps, or "
        "clip the inner gradient (--set algo.inner_optimizer.clip_norm=10)."
    )
    return [Finding("diverged", "critical", "fault", claim, repair, tuple(hit))]


def _overflow(table: Rows) -> list[Finding]:
    hit = [r for r in from_table(table, "variance") if r.status == "overflow"]
    if not hit:
        return []
    claim = (
        "Meta-gradients are finite, but so large that their squares overflow: the variance can't "
        "be computed."
    )
    repair = "Lower the inner rate (--set algo.inner_optimizer.rate=...) or take fewer inner steps."
    return [Finding("overflow", "critical", "fault", claim, repair, tuple(hit))]


def _independence(table: Rows, largest: int) -> list[Finding]:
    (slope,) = from_table(table, "slope")
    if slope.value is None:
        return []
    law = f"Variance falls as B^{slope.value:.2f} {interval(slope)} from B = 1 to {largest}"
    if slope.status == "refuted":
        slower = slope.value > -1
        claim = (
            f"{law}; independent tasks would give B^-1. "
            + f"Tasks in a batch are {'positively' if slower else 'negatively'} correlated, so the "
            "noise scale and the signal-to-noise ratio are not reported."
        )
        repair = (
            "Draw the tasks of a batch independently: shuffle across classes and files, and check "
            "that the sampler's seed differs between tasks."
            if slower
            else "Nothing to change if the sampler stratifies on purpose."
        )
        level = "critical" if slower else "info"
        return [Finding("dependent_tasks", level, "fault", claim, repair, (slope,))]
    if slope.low is None or slope.high is None:
        return []
    if slope.high - slope.low > WIDEST_SLOPE_INTERVAL:
        claim = f"{law}: the interval is too wide to test independence of tasks (B^-1)."
        return [
            Finding(
                "slope_unclear", "info", "undecided", claim, "Measure with more --tasks.", (slope,)
            )
        ]
    if not slope.low <= -1 <= slope.high:
        claim = f"{law}; the 95 % interval excludes -1, the exponent of independent tasks."
        repair = (
            "Measure again with another --seed: a chance deviation (1 run in 20) won't recur, "
            "dependence between tasks will."
        )
        return [Finding("slope_unclear", "info", "undecided", claim, repair, (slope,))]
    claim = f"{law}, consistent with independent tasks (B^-1)."
    close = slope.low >= -1 - SLOPE_MARGIN and slope.high <= -1 + SLOPE_MARGIN
    state = "fine" if close else "undecided"
    return [Finding("independent_tasks", "info", state, claim, "Nothing to change.", (slope,))]


def _noise(table: Rows, batch: int) -> list[Finding]:
    found = from_table(table, "noise_scale")
    (mean,) = from_table(table, "mean_norm_squared")
    scale = found[0] if found else Row("noise_scale", status="withheld")
    if scale.status == "degenerate":
        claim = "The meta-gradient is the same for every task, so its variance is zero."
        repair = "Check that tasks differ and that the loss depends on theta."
        return [Finding("no_variation", "warning", "fault", claim, repair, (mean,))]
    if mean.status == "unresolved":
        return [_no_signal(table, mean)]
    if scale.value is None or scale.low is None or scale.high is None:
        return []
    if not scale.low > 0:
        claim = (
            f"The noise scale lies in {interval(scale)} tasks: the interval is too wide to act on."
        )
        return [
            Finding(
                "noise_unclear",
                "warning",
                "undecided",
                claim,
                "Measure with more --tasks.",
                (scale,),
            )
        ]
    text = (
        f"Noise equals signal at {number(scale.value)} tasks {interval(scale)}; at B = {batch} "
        f"the signal-to-noise ratio is {number(batch / scale.value)} "
        f"[{number(batch / scale.high)}, {number(batch / scale.low)}]."
    )
    progress = 1 / (1 + scale.value / batch)
    gain = f" A step at B = {batch} makes about {progress:.0%} of a noiseless step's progress."
    if batch < scale.low:
        repair = (
            f"Raise the task batch towards {scale.value:.0f}, or lower the outer rate in "
            "proportion: below the noise scale, progress per step grows nearly in proportion to B."
        )
        return [Finding("noise_scale", "warning", "fault", text + gain, repair, (scale, mean))]
    repair = (
        f"B = {batch} is well above the noise scale: a larger batch would gain little, and a "
        "somewhat smaller one costs less per step."
        if batch > 4 * scale.high
        else f"B = {batch} is above the noise scale; nothing to change."
        if batch > scale.high
        else f"B = {batch} is close to the noise scale: a larger batch still gains progress."
    )
    state = "fine" if batch > SUFFICIENT_NOISE_SCALES * scale.high else "undecided"
    return [Finding("noise_scale", "info", state, text + gain, repair, (scale, mean))]


def _no_signal(table: Rows, mean: Row) -> Finding:
    needed = from_table(table, "tasks_to_detect")
    claim = (
        f"The mean meta-gradient is not distinguishable from zero: |E g|^2 = {number(mean.value)} "
        f"{interval(mean)}. No noise scale is stated."
    )
    if needed and needed[0].value is not None:
        repair = f"Measure with about --tasks {_round_up(needed[0].value)} to resolve it."
    else:
        repair = "Measure with more --tasks; if that doesn't help, theta may be a stationary point."
    return Finding("no_signal", "warning", "undecided", claim, repair, (mean, *needed))


def _round_up(tasks: float) -> int:
    power = 1
    while power < tasks:
        power *= 2
    return power


def _batches(at: float | None) -> str:
    return "tasks" if at == 1 else f"batches of {at or 0:.0f} tasks"
