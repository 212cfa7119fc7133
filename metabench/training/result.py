"""Result of a training: table, findings, page and record."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from metabench.estimation.adapted_and_learned import adapted_and_learned
from metabench.measurement import foreign_theta
from metabench.outer_loop.trainer import Trainer
from metabench.probes.verify import Verify
from metabench.records import record
from metabench.records.provenance import provenance
from metabench.records.rows import LEVELS, Finding, Row, row, to_table
from metabench.report.page import page
from metabench.training.shown import Training

if TYPE_CHECKING:
    import pandas as pd

    from metabench.training.plan import Plan

MOST_STEPS_PRINTED = 11  # of the table, in a terminal


@dataclass(frozen=True)
class Trained:
    """A finished training: its settings and everything that was measured."""

    training: Training
    settings: Mapping[str, Any]
    rows: Sequence[Row]
    table: pd.DataFrame
    findings: list[Finding]
    provenance: Mapping[str, Any]
    parameters: str = ""  # what adapts and what is learned, a sentence

    def record(self) -> str:
        """Return the result as one strict JSON object."""
        made = record.compose(self.settings, self.rows, self.findings, self.provenance)
        return record.text(made)

    def page(self) -> str:
        """Return the page as HTML text."""
        made = self.provenance
        return page(self.training, self.table, self.findings, made, self.settings, self.parameters)

    def short_table(self) -> pd.DataFrame:
        """Return the table without checks, at a few of the validated steps."""
        table = self.table[~self.table["quantity"].isin(["check", "theta"])]
        steps = sorted(table.loc[table["quantity"] == "validation", "at"])
        chosen = steps[:: -(-len(steps) // MOST_STEPS_PRINTED)] if steps else []
        return table[table["at"].isna() | table["at"].isin([*chosen, *steps[-1:]])]


def trained(plan: Plan, spec: Mapping[str, Any], trainer: Trainer, rows: list[Row]) -> Trained:
    """Return the result of a trainer that has finished or stopped.

    Args:
        plan: what was trained.
        spec: settings that determine theta, with the engine that was used.
        trainer: after its last step.
        rows: everything measured so far.
    """
    if not trainer.failure:
        rows = [*rows, row("gain", trainer.gain())]
    settings = {**spec, "steps": plan.steps}
    table = to_table(rows, settings)
    findings = [
        *plan.training.find(table),
        *foreign_theta.findings(table),
        *_checks(table),
    ]
    findings.sort(key=lambda finding: LEVELS.index(finding.level))
    made = provenance(str(settings["device"]))
    parameters = adapted_and_learned(trainer.subject)
    return Trained(plan.training, settings, rows, table, findings, made, parameters)


def _checks(table: pd.DataFrame) -> list[Finding]:
    """Return what `verify` found wrong with the meta-gradient, or could not tell."""
    open_states = ("undecided", "not_looked_at")
    return [
        finding
        for finding in Verify().find(table)
        if finding.level != "info" or finding.state in open_states
    ]
