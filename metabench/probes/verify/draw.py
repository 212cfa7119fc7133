"""The figure of the checks: relative errors beside their limits."""

from __future__ import annotations

from typing import TYPE_CHECKING

from metabench.probes.figure_style import PALETTE, open_frame
from metabench.probes.verify.limits import LIMITS
from metabench.records.rows import from_table

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

    from metabench.probes.verify import Verify

DRAWN_ZERO = 1e-17  # where an error of exactly 0 is drawn


def draw(probe: Verify, table: pd.DataFrame, axes: Axes) -> None:
    """Draw the relative error of each check on a logarithmic axis.

    Args:
        probe: its settings (unused).
        table: a measured table.
        axes: where to draw.
    """
    blue, orange = PALETTE[:2]
    rows = from_table(table, "check", of=None)
    axes.set_xscale("log")
    for place, row in enumerate(rows):
        if row.value is None:
            axes.text(1e-8, place, row.status, va="center", ha="center")
            continue
        color = blue if row.status == "ok" else orange
        axes.plot(max(row.value, DRAWN_ZERO), place, marker="o", color=color)
        axes.plot([LIMITS[row.of]] * 2, [place - 0.3, place + 0.3], "--", color="0.5")
    axes.set_xlim(DRAWN_ZERO / 3, 10)
    axes.set_yticks(range(len(rows)), [row.of for row in rows])
    axes.set_xlabel("relative error")
    open_frame(axes)
