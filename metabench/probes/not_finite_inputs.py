"""The finding on inputs that are not finite, and how it changes the findings it explains."""

from __future__ import annotations

from typing import TYPE_CHECKING

from metabench.probes.wording import percents
from metabench.records.rows import Finding, Row, from_table

if TYPE_CHECKING:
    import pandas as pd

MOST_PLACES_NAMED = 3
OUTPUT = "meta-gradient"  # a row of the checks that is no input
NAME, SHARE = "not_finite_input", "share of tasks"
FIRST = "Repair the input first: at any inner rate these tasks diverge."


def with_inputs(
    table: pd.DataFrame, findings: list[Finding], diverged: float | None = None
) -> list[Finding]:
    """Return the findings with that on inputs; what diverges because of them is no own fault.

    Args:
        table: a measured table.
        findings: of the table.
        diverged: share of tasks that diverged; None: one task is enough for all to be lost.
    """
    rows = [row for row in from_table(table, "not_finite", of=None) if row.of != OUTPUT]
    if not rows:
        return findings
    share = next((row.value or 0.0 for row in rows if row.of == SHARE), 0.0)
    theta = any(row.of.startswith("theta") for row in rows)
    explained = theta or diverged is None or diverged <= share * (1 + 1e-9)
    rest = [_follows(each) if explained and each.name == "diverged" else each for each in findings]
    return [_input(rows, theta), *rest]


def _input(rows: list[Row], theta: bool) -> Finding:
    places = [_place(row) for row in rows if row.of != SHARE]
    named, more = places[:MOST_PLACES_NAMED], len(places) - MOST_PLACES_NAMED
    claim = f"Not finite in the input: {', '.join(named)}{f' and {more} more' if more > 0 else ''}."
    claim += "".join(f" That is {percents(row)} of tasks." for row in rows if row.of == SHARE)
    repair = (
        "Give a theta from before the training diverged (--theta FILE)."
        if theta
        else "Remove or repair these examples in the sampler."
    )
    return Finding(NAME, "critical", "fault", claim, repair, tuple(rows))


def _place(row: Row) -> str:
    if row.at is None:
        return f"theta, layer `{row.of.removeprefix('theta: ')}`"
    return f"task {row.at:.0f}, {row.of}"


def _follows(finding: Finding) -> Finding:
    claim = f"{finding.claim} The input explains it."
    return finding._replace(level="info", state="", claim=claim, repair=FIRST)
