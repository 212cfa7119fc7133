"""The variance figure: log-log, with the 1/B line and the signal it is held against."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import seaborn as sns
from matplotlib.ticker import NullLocator

from metabench.probes.base import Drawing
from metabench.probes.plain_decades import plain_decades
from metabench.probes.variance.sources_figure import sources
from metabench.records.rows import from_table

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

    from metabench.probes.variance import Variance


def draw(probe: Variance, table: pd.DataFrame, axes: Axes) -> None:
    """Draw variance against B with its intervals, the 1/B line and |E g|^2."""
    blue, orange, green = sns.color_palette("colorblind", 3)
    lines = [r for r in from_table(table, "variance") if r.value is not None and r.value > 0]
    axes.set(xlabel="tasks in a batch, B", ylabel="variance of the meta-gradient")
    if not lines:
        axes.set(xticks=[], yticks=[])
        axes.text(0.5, 0.5, "no finite variance to draw", ha="center", transform=axes.transAxes)
        return
    axes.set_xscale("log", base=2)
    axes.set_yscale("log")
    B = np.array([r.at for r in lines], float)
    value = np.array([r.value for r in lines], float)
    low = np.array([r.value if r.low is None else r.low for r in lines], float)
    high = np.array([r.value if r.high is None else r.high for r in lines], float)
    axes.fill_between(B, low, high, color=blue, alpha=0.2, linewidth=0)
    bars = [value - low, high - value]
    axes.errorbar(B, value, bars, color=blue, marker="o", capsize=3, label="measured")
    axes.plot(B, value[0] * B[0] / B, color=orange, linestyle="--", label=f"1/B from B = {B[0]:g}")
    (mean,) = from_table(table, "mean_norm_squared")
    if mean.value is not None and mean.value > 0 and mean.status == "ok":
        axes.axhspan(mean.low or mean.value, mean.high or mean.value, color=green, alpha=0.2, lw=0)
        axes.axhline(mean.value, color=green, linestyle=":", label="signal |E g|²")
    axes.set_xticks(B, [f"{b:.0f}" for b in B])
    axes.xaxis.set_minor_locator(NullLocator())
    plain_decades(axes)
    handles, labels = axes.get_legend_handles_labels()
    order = sorted(range(len(labels)), key=lambda i: labels[i] != "measured")
    axes.legend([handles[i] for i in order], [labels[i] for i in order], frameon=False)
    sns.despine(ax=axes)


def more(probe: Variance, table: pd.DataFrame) -> list[Drawing]:
    """Give the sources of the variance, stacked, where they were told apart."""
    return sources(table)
