"""Drift of each layer's features over the inner loop: its rows and its finding."""

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
NOTABLE_SHIFT = 1.0  # standard deviations: a mean shifted farther lies outside most features


def rows_of(drift: dict[str, Vector], at: tuple[int, ...]) -> list[Row]:
    """Return median shift and spread of each layer at each K; `degenerate` if nothing varies."""
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
    """Name the layer whose features shift most within `own` inner steps, if one shifts far."""
    most = _largest_shift(
        [r for r in from_table(table, MEAN, layer=None) if r.value is not None], own
    )
    if most is None or (most.low or 0.0) <= NOTABLE_SHIFT:
        return []
    (spread,) = (r for r in from_table(table, SPREAD, layer=most.layer) if r.at == most.at)
    named = most.layer if " " in most.layer else f"layer `{most.layer}`"  # or the whole module
    claim = (
        f"After {most.at:.0f} inner step{'' if most.at == 1 else 's'} the mean outputs of {named} "
        f"have shifted by {number(most.value)} {interval(most)} initial standard deviations "
        f"(median task), and their spread is {number(spread.value)} {interval(spread)} times the "
        "initial one."
    )
    repair = (
        "This matters only with batch norm: statistics that all inner steps share would not fit. "
        "Use batch statistics or per-step ones (--algo mamlpp)."
    )
    return [Finding("feature_drift", "info", "", claim, repair, (most, spread))]


def _largest_shift(shifts: list[Row], own: float) -> Row | None:
    """Return the largest shift at the last K up to `own`, or at the smallest K beyond."""
    if not shifts:
        return None
    steps = sorted({r.at or 0.0 for r in shifts})
    K = max((K for K in steps if own >= K), default=steps[0])
    return max((r for r in shifts if (r.at or 0.0) == K), key=lambda r: r.low or 0.0)
