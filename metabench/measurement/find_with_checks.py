"""Findings of a table, including those of the checks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from metabench.measurement import foreign_theta
from metabench.measurement.findings_budget import unfinished
from metabench.probes.verify import Verify
from metabench.records.rows import LEVELS, Finding

if TYPE_CHECKING:
    import pandas as pd

    from metabench.probes.base import Probe


SAYS_MORE = {  # findings of probes that measure what a check met by chance
    "indefinite": ("saddle",),
    "saddles": ("saddle",),
}


def find(probe: Probe, table: pd.DataFrame) -> list[Finding]:
    """Return the findings of a probe's table and of its checks, most severe first.

    >>> import metabench as mb
    >>> table = mb.to_table([mb.Row("noise_scale", value=5.6)])
    >>> [finding.name for finding in mb.find(mb.Verify(), table)]
    []
    """
    missing = bool((table["quantity"] == "not_measured").any())
    found = [] if missing else probe.find(table)
    findings = [*unfinished(table), *found, *foreign_theta.findings(table)]
    if not isinstance(probe, Verify):
        unchecked = [] if missing else _unchecked(table)
        known = {name for each in findings for name in SAYS_MORE.get(each.name, ())}
        checks = [each for each in Verify().find(table) if each.name not in known]
        findings = [*findings, *checks, *unchecked]
    return sorted(findings, key=lambda finding: LEVELS.index(finding.level))


def _unchecked(table: pd.DataFrame) -> list[Finding]:
    """Return a warning if the table has no checks."""
    if (table["quantity"] == "check").any():
        return []
    claim = "The meta-gradient was not checked for correctness."
    repair = "Measure with metabench.measure_checked(probe, subject, seed), which checks first."
    return [Finding("unchecked", "warning", "not_looked_at", claim, repair, ())]
