"""Gradients that are meant to differ from their loss's, such as through a gradient reversal."""

from __future__ import annotations

from collections.abc import Sequence

from metabench.probes.verify.limits import DIFFERENCES, OWN_GRADIENT, SYMMETRY, UNROLL
from metabench.records.number_format import number
from metabench.records.rows import Finding, Row, Rows, from_table

TOUCHED = (DIFFERENCES, UNROLL, SYMMETRY, OWN_GRADIENT)  # checks that a declared difference fails
FAILED = ("wrong", "mismatch", "not implemented")
BESIDE = ("cause", "factor")  # rows on why a check fails


def as_declared(rows: Sequence[Row], differs: str) -> list[Row]:
    """Return the rows with what a problem's declared difference fails as `approximate`.

    Args:
        rows: of all checks.
        differs: what the problem declares, such as "gradient reversal"; "" for nothing.
    """
    if not differs:
        return list(rows)
    made = [Row("declared_difference", of=differs, status="info")]
    for row in rows:
        if row.quantity in BESIDE:
            continue
        touched = row.quantity == "check" and row.of in TOUCHED and row.status in FAILED
        made.append(row._replace(status="approximate") if touched else row)
    return made


def declared(table: Rows) -> list[Finding]:
    """Return the remark on a declared difference, and how large it is."""
    found = []
    for row in from_table(table, "declared_difference", of=None):
        checks = [
            each
            for each in from_table(table, "check", of=None)
            if each.of == DIFFERENCES and each.status == "approximate"
        ]
        claim = f"The problem declares that its gradient differs from that of its loss ({row.of})"
        if checks:
            claim += f": it does, by {number(checks[0].value or 0)} (relative error)."
        else:
            claim += "; no check shows a difference."
        repair = (
            "Nothing to change if that is meant; no check judges the parts that differ."
            if checks
            else "Leave out differs= if nothing differs by design."
        )
        found.append(Finding("declared_difference", "info", "", claim, repair, (row, *checks)))
    return found
