"""Figure of the effect of every change."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from metabench.probes.figure_style import PALETTE, open_frame
from metabench.records.rows import from_table

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

    from metabench.diagnosis.trial import Trial


def draw(probe: Trial, table: pd.DataFrame, axes: Axes) -> None:
    """Draw each change's effect with its interval; diverged trainings are left out.

    Args:
        probe: the trials.
        table: their rows.
        axes: to draw on.
    """
    rows = [r for r in from_table(table, "effect", of=None) if r.value is not None]
    color = PALETTE[0]
    for place, row in enumerate(rows):
        if row.low is not None and row.high is not None:
            axes.plot([row.low, row.high], [place, place], color=color, linewidth=2)
        axes.plot([row.value or 0.0], [place], "o", color=color)
    axes.axvline(0.0, color="0.5", linestyle="--", linewidth=1)
    axes.set_yticks(np.arange(len(rows)), [row.of for row in rows])
    axes.invert_yaxis()
    axes.set_xlabel("validation loss, changed minus unchanged")
    open_frame(axes)
