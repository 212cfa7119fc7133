"""Findings about the whole spectrum: its effective rank, and the layer of largest curvature."""

from __future__ import annotations

from typing import TYPE_CHECKING

from metabench.probes.spectrum.wording import number, rows_at
from metabench.probes.wording import percents
from metabench.records.rows import Finding, Row, from_table

if TYPE_CHECKING:
    import pandas as pd


def shape(table: pd.DataFrame) -> list[Finding]:
    """Return findings on the effective rank and the layers, at the start of the inner loop."""
    return [*_rank(table), *_layers(table)]


def _rank(table: pd.DataFrame) -> list[Finding]:
    found = [from_table(table, name, of="start") for name in ("effective_rank", "negative_mass")]
    if not all(found):
        return []
    (rank,), (negative,) = found
    if rank.value is None or rank.low is None or negative.value is None:
        return []
    claim = (
        f"At the start of the inner loop, a task's curvature is spread over about {number(rank)} "
        f"directions (effective rank); {percents(negative)} of it is negative."
    )
    evidence = (rank, negative, *from_table(table, "trace", of="start"))
    return [Finding("curvature_spread", "info", "", claim, "", evidence)]


def _layers(table: pd.DataFrame) -> list[Finding]:
    """Return a finding on the layer of largest curvature, if its interval lies above the next."""
    blocks = from_table(table, "largest_eigenvalue", of="start", layer=None)
    blocks = [row for row in blocks if row.layer and row.value is not None]
    blocks.sort(key=lambda row: -(row.value or 0.0))
    whole = rows_at(table, "largest_eigenvalue", "start").get(0.5)
    if len(blocks) < 2 or whole is None or not whole.value or not blocks[0].value:
        return []
    first, second = blocks[:2]
    if not _above(first, second):
        return []
    claim = (
        f"Layer `{first.layer}` has the largest curvature: in the median task, the largest "
        f"eigenvalue of its Hessian block is {number(first)}, that of the whole Hessian "
        f"{number(whole)}. Next is `{second.layer}` with {number(second)}."
    )
    repair = (
        "If the inner rate is too large, a smaller rate for this layer alone leaves the others as "
        "they are."
    )
    return [Finding("steepest_layer", "info", "", claim, repair, (first, second, whole))]


def _above(first: Row, second: Row) -> bool:
    return first.low is not None and second.high is not None and first.low > second.high
