"""Findings on a precision below float64 inside the loss, and on gradients stored in half."""

from __future__ import annotations

from metabench.records.number_format import number
from metabench.records.rows import Finding, Rows, from_table


def lower_precision(table: Rows) -> list[Finding]:
    """Return a remark on the lowest precision inside, and a warning of a gradient stored in half.

    Args:
        table: rows by quantity.
    """
    return [*_stored(table), *_inside(table)]


def _stored(table: Rows) -> list[Finding]:
    """Return the warning, unless a failed check names half precision already."""
    rows = from_table(table, "half_gradient", of=None)
    named = {row.of for row in from_table(table, "cause", of=None, layer=None)}
    return [
        Finding(
            "half_gradient",
            "warning",
            "fault",
            f"Every entry of the meta-gradient is a {row.of} number, though theta is not: it is "
            f"rounded by up to {number(row.value or 0)} of itself.",
            "Look for .half(), .bfloat16() and autocast; keep gradients in float32.",
            (row,),
        )
        for row in rows
        if row.of not in named
    ]


def _inside(table: Rows) -> list[Finding]:
    """Return a remark on a precision below float64 inside the loss."""
    rows = from_table(table, "lowest_precision", of=None)
    if not rows:
        return []
    dtype, _, operation = rows[0].of.partition(": ")
    claim = f"Part of the loss is computed in {dtype} (first in `{operation}`)."
    repair = (
        "Training in float32 is not affected; before --dtype float64, look for .float()."
        if dtype == "float32"
        else "Look for .half(), .bfloat16() and autocast, if that was not intended."
    )
    return [Finding("lower_precision", "info", "", claim, repair, tuple(rows))]
