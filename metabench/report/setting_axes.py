"""Settings that figures use as axes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from metabench.report.evidence import Evidence

if TYPE_CHECKING:
    import pandas as pd

FEWEST_VALUES = 3  # of a setting that is an axis


def numeric(evidence: Evidence, cells: pd.DataFrame) -> list[str]:
    """List the numeric settings of algorithm and family with three values or more."""
    found = []
    known = {*cells["algo"], *cells["family"]}
    for name in evidence.settings:
        if not name.startswith(("algo.", "family.")) or name.endswith(".version"):
            continue
        word = name.partition(".")[2]
        if not any(f"{word}=" in label for label in known):
            continue  # determined by other settings
        values = evidence.cells[name][cells.index].dropna()
        try:
            numbers = values.astype(float)
        except (TypeError, ValueError):
            continue
        if numbers.nunique() >= FEWEST_VALUES and np.isfinite(numbers).all():
            found.append(name)
    return found
