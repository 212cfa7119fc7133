"""The verdict of a checkup: how much was measured, then what is wrong, or that nothing is."""

from __future__ import annotations

from collections import Counter

from metabench.diagnosis.checkup import Checkup
from metabench.report.verdict import verdict

# states that are counted where no fault is found
COUNTED_STATES = ("fine", "undecided", "not_looked_at")


def checkup_verdict(found: Checkup) -> str:
    """Return the verdict; nothing is called fine of probes that were not measured."""
    if found.faults:
        said = verdict([each.finding for each in found.ordered_findings])
    elif any(part.rows for part in found.parts):
        counts = Counter(each.finding.state for each in found.findings)
        words = [
            f"{counts[state]} {state.replace('_', ' ')}"
            for state in COUNTED_STATES
            if counts[state]
        ]
        listed = ", ".join(words) or "none"
        said = f"No fault found by the probes that were measured. Findings: {listed}."
    else:
        said = "Nothing was measured; use a larger --budget."
    return f"{found.coverage} {said}"
