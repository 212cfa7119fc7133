"""Gradients that may be meant to differ from the loss's, named beside a check that they fail."""

from __future__ import annotations

from collections.abc import Sequence

from metabench.probes.verify.limits import DIFFERENCES, SYMMETRY
from metabench.records.rows import Finding, Row

MOST_PLACES = 4  # named in a claim
MEANT = (
    "If that is meant (straight-through, gradient reversal, stopped gradients), declare it, and "
    'verify reports the difference without judging it: Problem.from_module(..., differs="straight-'
    'through"). Otherwise correct the derivative there.'
)


def with_own_derivatives(finding: Finding, check: Row, own: Sequence[Row]) -> Finding:
    """Return a finding on a wrong derivative with the places that may be meant to have another.

    Args:
        finding: on a failed check.
        check: which one.
        own: rows of the places.
    """
    if not own or check.of not in (DIFFERENCES, SYMMETRY):
        return finding
    places = ", ".join(row.of for row in own[:MOST_PLACES])
    more = f" and {len(own) - MOST_PLACES} more" if len(own) > MOST_PLACES else ""
    claim = (
        f"{finding.claim} Possible causes are in the module or loss, whose gradient need not be "
        f"that of what it computes there: {places}{more}."
    )
    return finding._replace(claim=claim, repair=MEANT, evidence=(*finding.evidence, *own))
