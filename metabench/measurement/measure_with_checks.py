"""No figure without a check: verify first, then measure; from the shell and from Python alike."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from metabench.probes.base import Probe, Progress, silent
from metabench.probes.verify import Verify
from metabench.records.rows import LEVELS, Finding, Row, from_table

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

    from metabench.estimation.estimator_on_tasks import Subject


def measure(
    probe: Probe,
    subject: Subject,
    seed: int = 0,
    progress: Progress = silent,
    shards: Sequence[Mapping[str, NDArray[Any]]] = (),
) -> list[Row]:
    """Check that the meta-gradient is right, then run the probe; the checks' rows come last.

    `probe.measure` is the second half alone, for loops that check once. What `shards`, if they are
    given, hold isn't measured again; they are all that `probe.shard` gave, in order.

    Raises:
        Misuse: if the meta-gradient can't be computed at all, with the repair.
    """
    if isinstance(probe, Verify):
        return probe.measure(subject, seed, progress)
    checks = Verify(thorough=False).measure(subject, seed)
    if shards:
        return [*probe.merge(subject, seed, shards, progress), *checks]
    return [*probe.measure(subject, seed, progress), *checks]


def diagnose(probe: Probe, table: pd.DataFrame) -> list[Finding]:
    """Say what the table holds, checks included, the weightiest first."""
    findings = [*probe.diagnose(table), *foreign(table)]
    if not isinstance(probe, Verify):
        findings = [*findings, *Verify().diagnose(table), *_unchecked(table)]
    return sorted(findings, key=lambda finding: LEVELS.index(finding.level))


def foreign(table: pd.DataFrame) -> list[Finding]:
    """Warn of a theta that was trained on something else than what it is looked at with."""
    rows = from_table(table, "theta", of=None)
    if not rows:
        return []
    family = [row for row in rows if row.of.startswith("family is ")]
    claim = (
        f"theta was trained otherwise than it is looked at here: {'; '.join(r.of for r in rows)}."
    )
    repair = "Look at it as it was trained, unless the difference is what you ask about."
    level = "warning" if family else "info"
    return [Finding("foreign_theta", level, claim, repair, tuple(rows))]


def _unchecked(table: pd.DataFrame) -> list[Finding]:
    """Warn of numbers that came without a check."""
    if (table["quantity"] == "check").any():
        return []
    claim = "Whether the meta-gradient is right was not checked."
    repair = "Measure with metabench.measure(probe, subject, seed), which checks first."
    return [Finding("unchecked", "warning", claim, repair, ())]
