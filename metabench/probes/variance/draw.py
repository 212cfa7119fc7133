"""Figure of the variance at each B, with the 1/B line and the signal |E g|^2."""

from __future__ import annotations

from typing import TYPE_CHECKING

from matplotlib.ticker import NullLocator

from metabench.probes.bands import band
from metabench.probes.base import Drawing
from metabench.probes.figure_style import PALETTE, open_frame
from metabench.probes.plain_decades import plain_decades
from metabench.probes.variance.sources_figure import sources
from metabench.records.number_format import number
from metabench.records.rows import from_table

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

    from metabench.probes.variance import Variance

FURTHEST = 4.0  # times the largest measured B: marks beyond would hide the measured part


def draw(probe: Variance, table: pd.DataFrame, axes: Axes) -> None:
    """Draw variance against B with its intervals, the 1/B line, |E g|^2, the crossing and your B.

    Args:
        probe: has your B.
        table: of one measurement.
        axes: to draw on.
    """
    blue, orange, green = PALETTE[:3]
    lines = [r for r in from_table(table, "variance") if r.value is not None and r.value > 0]
    axes.set(xlabel="tasks in a batch, B", ylabel="variance of the meta-gradient")
    if not lines:
        axes.set(xticks=[], yticks=[])
        axes.text(0.5, 0.5, "no finite variance to draw", ha="center", transform=axes.transAxes)
        return
    axes.set_xscale("log", base=2)
    axes.set_yscale("log")
    B, value, low, high = band(lines)
    axes.fill_between(B, low, high, color=blue, alpha=0.3, linewidth=0)
    bars = [value - low, high - value]
    axes.errorbar(B, value, bars, color=blue, marker="o", capsize=3, label="measured")
    axes.plot(B, value[0] * B[0] / B, color=orange, linestyle="--", label=f"1/B from B = {B[0]:g}")
    _signal(table, axes, green)
    _crossing(table, axes, B[-1])
    if probe.batch <= FURTHEST * B[-1]:
        axes.axvline(probe.batch, color="0.5", linestyle="-.", label=f"your B = {probe.batch}")
    axes.set_xticks(B, [f"{b:.0f}" for b in B])
    axes.xaxis.set_minor_locator(NullLocator())
    plain_decades(axes)
    named = sorted(zip(*axes.get_legend_handles_labels(), strict=True), key=_measured_first)
    axes.legend(*zip(*named, strict=True), frameon=False)
    open_frame(axes)


def _signal(table: pd.DataFrame, axes: Axes, color: object) -> None:
    """Draw |E g|^2 with its interval, where it is distinguishable from zero."""
    (mean,) = from_table(table, "mean_norm_squared")
    if mean.value is not None and mean.value > 0 and mean.status == "ok":
        ends = mean.low or mean.value, mean.high or mean.value
        axes.axhspan(*ends, color=color, alpha=0.3, lw=0)
        axes.axhline(mean.value, color=color, linestyle=":", label="signal |E g|²")


def _crossing(table: pd.DataFrame, axes: Axes, largest: float) -> None:
    """Mark the noise scale, where the 1/B line crosses the signal, if it is near the measured B."""
    (mean,), noise = from_table(table, "mean_norm_squared"), from_table(table, "noise_scale")
    if not noise or noise[0].value is None or mean.value is None or mean.status != "ok":
        return
    scale = noise[0].value
    if 0 < scale <= FURTHEST * largest and mean.value > 0:
        label = f"noise scale {number(scale)} tasks"
        axes.plot([scale], [mean.value], "X", color="black", markersize=8, label=label)


def _measured_first(named: tuple[object, str]) -> bool:
    return named[1] != "measured"


def more(probe: Variance, table: pd.DataFrame) -> list[Drawing]:
    """Return the figure of the variance by source, if it was measured."""
    return sources(table)
