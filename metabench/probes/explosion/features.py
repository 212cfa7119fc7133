"""How far the features of each layer drift as the inner loop goes on: why norms keep statistics."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from metabench.probes.quantile_rows import quantile
from metabench.probes.wording import interval, number
from metabench.records.rows import Finding, Row, from_table
from metabench.stats.intervals import Vector

if TYPE_CHECKING:
    import pandas as pd

MEAN, SPREAD = "feature_shift", "feature_spread"
NOTABLE = 1.0  # standard deviations: a mean that moved farther lies outside most features


def rows_of(drift: dict[str, Vector], at: tuple[int, ...]) -> list[Row]:
    """Give, of each layer at each K, the median over tasks of both; `degenerate` if none vary."""
    rows = []
    for name, moved in drift.items():
        if np.isnan(moved[:, 0, 1]).any():  # 0 / 0: one example, or a layer that gives a constant
            rows += [Row(quantity, layer=name, status="degenerate") for quantity in (MEAN, SPREAD)]
            continue
        for i, K in enumerate(at, 1):
            if K:
                rows.append(quantile(MEAN, moved[:, i, 0], at=float(K), layer=name))
                rows.append(quantile(SPREAD, moved[:, i, 1], at=float(K), layer=name))
    return rows


def drifts(table: pd.DataFrame, own: float) -> list[Finding]:
    """Name the layer whose features move farthest within one's own loop, if any moves far."""
    most = _farthest([r for r in from_table(table, MEAN, layer=None) if r.value is not None], own)
    if most is None or (most.low or 0.0) <= NOTABLE:
        return []
    (spread,) = (r for r in from_table(table, SPREAD, layer=most.layer) if r.at == most.at)
    claim = (
        f"By K = {most.at:.0f} the features of {most.layer} have moved, in the median task, by "
        f"{number(most.value)} {interval(most)} of the standard deviations that they began with, "
        f"and spread {number(spread.value)} {interval(spread)} times as wide."
    )
    repair = (
        "Statistics that all inner steps share can't fit: if batch norm keeps any, let it use the "
        "batch's own, or keep each step's (--algo mamlpp)."
    )
    return [Finding("feature_drift", "info", "", claim, repair, (most, spread))]


def _farthest(shifts: list[Row], own: float) -> Row | None:
    """Give the largest shift at the last K of one's own loop, or at the least K told beyond it."""
    if not shifts:
        return None
    steps = sorted({r.at or 0.0 for r in shifts})
    K = max((K for K in steps if own >= K), default=steps[0])
    return max((r for r in shifts if (r.at or 0.0) == K), key=lambda r: r.low or 0.0)
