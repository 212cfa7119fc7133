"""Which settings are axes?"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from metabench.report.evidence import Evidence

if TYPE_CHECKING:
    import pandas as pd

STEPS = 3  # values that make a setting an axis


def numeric(evidence: Evidence, cells: pd.DataFrame) -> list[str]:
    """List the settings of algorithm and family that take several numbers, all else equal."""
    found = []
    known = {*cells["algo"], *cells["family"]}
    for name in evidence.settings:
        if not name.startswith(("algo.", "family.")) or name.endswith(".version"):
            continue
        word = name.partition(".")[2]
        if not any(f"{word}=" in label for label in known):
            continue  # it follows from others
        values = evidence.cells[name][cells.index].dropna()
        try:
            numbers = values.astype(float)
        except (TypeError, ValueError):
            continue
        if numbers.nunique() >= STEPS and np.isfinite(numbers).all():
            found.append(name)
    return found
