"""Figures of the explosion probe: norm against K, adjoint, stable rates, drift of features."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

from metabench.probes.bands import band
from metabench.probes.base import Drawing
from metabench.probes.explosion.features import MEAN
from metabench.probes.figure_style import PALETTE, open_frame
from metabench.records.rows import Row, from_table

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

    from metabench.probes.explosion import Explosion

ADJOINT = Drawing(
    "At which inner steps does backpropagation amplify?",
    "|v_k| / |v_K|, the norm of the gradient with respect to phi_k in the backward pass from the "
    "largest K: median over tasks with its 95 % interval. Read it from right to left: it starts at "
    "1 at phi_K and ends at phi_0. A straight line is the same growth at every step; a jump is a "
    "step that amplifies much more than others.",
    lambda axes: None,
)
RATES = Drawing(
    "Which inner rates are stable?",
    "Share of other tasks whose support loss ends above where it began, counted at each rate, "
    "with 95 % intervals. Vertical lines are the rates below which curvature at phi_0 predicts 95 "
    "% (left) and 50 % (right) of tasks to be stable, with their intervals shaded.",
    lambda axes: None,
)
DRIFT = Drawing(
    "How far do the features of each layer drift?",
    "Shift of the mean outputs of a layer after K inner steps, in standard deviations at phi_0: "
    "median over tasks with its 95 % interval, for the six layers that shift most. Statistics "
    "shared by all inner steps would be wrong by this much.",
    lambda axes: None,
)
MOST_LAYERS_DRAWN = 6


def draw(probe: Explosion, table: pd.DataFrame, axes: Axes) -> None:
    """Draw the median norm against K, its quantiles, and the query gradient.

    Args:
        probe: its settings.
        table: its rows.
        axes: drawn on.
    """
    blue, orange = PALETTE[:2]
    axes.set(xlabel="inner steps, K", ylabel="norm of one task's meta-gradient")
    middle = _drawable(from_table(table, "norm"))
    if not middle:
        _draw_message(axes, "no finite norm to draw")
        return
    axes.set_yscale("log")
    axes.set_xscale("symlog", linthresh=1)
    K = [r.at or 0.0 for r in middle]
    low, high = _outer_quantiles(table, middle)
    label = "5 % to 95 % of tasks"
    axes.fill_between(K, low, high, color=blue, alpha=0.3, lw=0, label=label)
    _draw_line(axes, middle, blue, "median")
    ends = band(_drawable(from_table(table, "query_gradient")))
    axes.plot(ends.at, ends.value, color=orange, ls="--", label="query gradient at φ_K")
    axes.set_xticks(K, [f"{x:.0f}" for x in K])
    axes.minorticks_off()
    axes.legend(frameon=False)
    open_frame(axes)


def more(probe: Explosion, table: pd.DataFrame) -> list[Drawing]:
    """Return the further figures for which the table has numbers."""
    made = []
    if _drawable(from_table(table, "adjoint", of="k")):
        made.append(ADJOINT._replace(draw=lambda axes: _draw_adjoint(table, axes)))
    if from_table(table, "unstable", of="rate"):
        made.append(RATES._replace(draw=lambda axes: _draw_rates(table, axes)))
    if _drawable(from_table(table, MEAN, layer=None)):
        made.append(DRIFT._replace(draw=lambda axes: _draw_drift(table, axes)))
    return made


def _outer_quantiles(table: pd.DataFrame, middle: list[Row]) -> tuple[list[float], list[float]]:
    """Return the 5 % and 95 % quantile at each median; values not finite lie outside the figure."""
    low, high = ({r.at: r.value for r in from_table(table, f"norm_{end}")}
                 for end in ("low", "high"))  # fmt: skip
    above = 10 * max(r.value or 0.0 for r in middle)
    return (
        [low.get(r.at) or r.value or 0.0 for r in middle],
        [high.get(r.at) or above for r in middle],
    )


def _draw_adjoint(table: pd.DataFrame, axes: Axes) -> None:
    rows = _drawable(from_table(table, "adjoint", of="k"))
    _draw_line(axes, rows, PALETTE[0], "median")
    axes.axhline(1, color="0.5", ls=":")
    axes.set_yscale("log")
    axes.set(xlabel="inner step, k", ylabel="|v_k| / |v_K|")
    open_frame(axes)


def _draw_rates(table: pd.DataFrame, axes: Axes) -> None:
    blue, orange = PALETTE[:2]
    _draw_line(axes, from_table(table, "unstable", of="rate"), blue, "counted on other tasks")
    for line in from_table(table, "stable_rate", of=None):
        if line.value is not None:
            axes.axvline(line.value, color=orange, ls="--")
            axes.axvspan(line.low or line.value, line.high or line.value, color=orange, alpha=0.3)
    axes.set_xscale("log")
    axes.set(xlabel="inner rate", ylabel="share of tasks whose loss rises", ylim=(-0.03, 1.03))
    axes.legend(frameon=False)
    open_frame(axes)


def _draw_drift(table: pd.DataFrame, axes: Axes) -> None:
    layers: dict[str, list[Row]] = {}
    for line in _drawable(from_table(table, MEAN, layer=None)):
        layers.setdefault(line.layer, []).append(line)
    most = sorted(layers, key=lambda name: -max(r.value or 0 for r in layers[name]))[
        :MOST_LAYERS_DRAWN
    ]
    names = [name for name in layers if name in most]
    for name, color in zip(names, itertools.cycle(PALETTE), strict=False):
        _draw_line(axes, layers[name], color, name)
    axes.set_yscale("log")
    axes.set_xscale("log")
    axes.set(xlabel="inner steps, K", ylabel="shift of the mean, standard deviations")
    axes.legend(frameon=False)
    open_frame(axes)


def _draw_line(axes: Axes, rows: list[Row], color: object, label: str) -> None:
    x, value, low, high = band(rows)
    axes.fill_between(x, low, high, color=color, alpha=0.3, lw=0)
    axes.plot(x, value, color=color, marker="o", ms=3, label=label)


def _drawable(rows: list[Row]) -> list[Row]:
    return [r for r in rows if r.value is not None and r.value > 0]


def _draw_message(axes: Axes, why: str) -> None:
    axes.set(xticks=[], yticks=[])
    axes.text(0.5, 0.5, why, ha="center", transform=axes.transAxes)
