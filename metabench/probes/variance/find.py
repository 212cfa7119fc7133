"""Findings of the variance table: divergence, noise scale, independence, and those of findings/."""

from __future__ import annotations

from typing import TYPE_CHECKING

from metabench.probes.variance.findings import tails
from metabench.probes.variance.findings.advice import advice
from metabench.probes.variance.findings.bias import bias
from metabench.probes.variance.findings.independence import independence
from metabench.probes.variance.findings.noise import noise
from metabench.probes.variance.findings.outer import outer
from metabench.probes.variance.findings.sources import sources
from metabench.probes.wording import percent
from metabench.records.rows import LEVELS, Finding, Rows, by_quantity, from_table

if TYPE_CHECKING:
    import pandas as pd

    from metabench.probes.variance import Variance


def find(probe: Variance, whole: pd.DataFrame) -> list[Finding]:
    """Return the findings of a whole variance table, the most severe first."""
    table, batch = by_quantity(whole), probe.batch
    largest = max((int(r.at or 0) for r in from_table(table, "snr")), default=1)
    found = noise(table, batch, probe.tasks)
    # sources and amplification of the noise are warnings only where there is too much of it
    noisy = any(finding.state == "fault" for finding in found) or not found
    by_source = [f if noisy else _as_info(f) for f in sources(table)]
    dominant = [finding for finding in by_source if finding.level == "warning"]
    findings = [
        *_divergence(table, batch),
        *tails.pool(table, probe.tasks),
        *tails.heavy(table),
        *dominant,
        *found,
        *independence(table, largest),
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
        claim += f" A batch of {batch} contains at least one with probability {hit_share:.3g}."
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


def _batches(at: float | None) -> str:
    return "tasks" if at == 1 else f"batches of {at or 0:.0f} tasks"
