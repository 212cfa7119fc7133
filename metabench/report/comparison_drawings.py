"""Figures that compare algorithms, with lines or points."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from metabench.probes.base import Drawing
from metabench.probes.figure_style import PALETTE, open_frame
from metabench.report.labels import setting_text
from metabench.report.quantity_names import words

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

MOST_LINES = 6  # of one figure: colors and dashes of more can't be distinguished
DASHES = ("-", "--", ":", "-.", (0, (5, 1)), (0, (1, 1)))
MARKERS = "osD^vX"
MOST_TICKS = 8  # points on an axis with a tick and an interval bar each; more get a band
INTERVALS = (
    "Bars and bands are 95 % intervals, over seeds if there are four or more; of two or three "
    "seeds the median is drawn, without an interval."
)


def lines(title: str, data: pd.DataFrame, axis: str, quantity: str) -> Drawing:
    """Draw a line with intervals for each algorithm against `x`.

    Args:
        title: the title, without capital.
        data: `algorithm`, `x`, `value`, `low` and `high`.
        axis: the name of `x`.
        quantity: the name of `value`, also "quantity, of".
    """
    names = list(dict.fromkeys(data["algorithm"]))
    shown = names[:MOST_LINES]
    caption = f"{INTERVALS} Each line is an algorithm with its settings."
    if len(names) > MOST_LINES:
        caption += (
            f" The figure shows the first {MOST_LINES} of {len(names)} algorithms, the CSV all."
        )

    def draw(axes: Axes) -> None:
        colors = PALETTE
        for i, name in enumerate(shown):
            part = data[(data["algorithm"] == name) & data["value"].notna()].sort_values("x")
            style: Any = {"linestyle": DASHES[i], "marker": MARKERS[i], "color": colors[i]}
            low, high = (part[end].fillna(part["value"]) for end in ("low", "high"))
            if len(part) > MOST_TICKS:
                axes.fill_between(part["x"], low, high, color=colors[i], alpha=0.25, linewidth=0)
            else:
                axes.vlines(part["x"], low, high, color=colors[i], alpha=0.5, linewidth=2.5)
            axes.plot(part["x"], part["value"], label=name, markersize=5, **style)
        _set_scales(axes, data)
        axes.set(xlabel=words(axis), ylabel=words(quantity))
        _legend(axes, shown)
        open_frame(axes)

    named = data.rename(columns={"x": axis})
    return Drawing(_sentence(title), caption, draw, (quantity.partition(", ")[0],), named)


def points(title: str, data: pd.DataFrame, quantity: str) -> Drawing:
    """Draw a point with its interval for each algorithm, one below the other.

    Args:
        title: the title, without capital.
        data: `algorithm`, `x`, `value`, `low` and `high`.
        quantity: the name of `value`, also "quantity, of".
    """
    shown = data[data["value"].notna()][:24]

    def draw(axes: Axes) -> None:
        color = PALETTE[0]
        places = np.arange(len(shown))
        ends = [shown["value"] - shown["low"].fillna(shown["value"]),
                shown["high"].fillna(shown["value"]) - shown["value"]]  # fmt: skip
        bars = np.clip(np.array(ends, dtype=float), 0, None)
        axes.errorbar(shown["value"], places, xerr=bars, fmt="o", color=color, capsize=3)
        axes.set_yticks(places, list(shown["algorithm"]))
        axes.invert_yaxis()
        axes.set_xlabel(words(quantity))
        open_frame(axes)

    caption = f"{INTERVALS} Algorithms without a number are left out."
    named = data.drop(columns="x")
    return Drawing(_sentence(title), caption, draw, (quantity.partition(", ")[0],), named)


def _set_scales(axes: Axes, data: pd.DataFrame) -> None:
    """Choose logarithmic axes for positive values that span more than a factor of 4."""
    from matplotlib.ticker import NullLocator

    from metabench.probes.plain_decades import plain_decades

    setters: list[tuple[Callable[[str], None], np.ndarray[Any, Any]]] = [
        (axes.set_xscale, data["x"].to_numpy()),
        (axes.set_yscale, data["value"].dropna().to_numpy()),
    ]
    for scale, values in setters:
        if len(values) and values.min() > 0 and values.max() > 4 * values.min():
            scale("log")
    if axes.get_yscale() == "log":
        plain_decades(axes)
    places = np.unique(data["x"])
    if len(places) <= MOST_TICKS:
        axes.set_xticks(places, list(map(setting_text, places)))
        axes.xaxis.set_minor_locator(NullLocator())
    elif axes.get_xscale() == "log":
        axes.xaxis.set_major_formatter(lambda x, _: f"{x:g}")
        axes.xaxis.set_minor_formatter(lambda x, _: "")


def _legend(axes: Axes, names: Sequence[str]) -> None:
    """Draw the legend above the axes; long names one below the other."""
    columns = max(1, min(len(names), 64 // (max(map(len, names)) + 8)))
    axes.legend(frameon=False, loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=columns,
                fontsize=8)  # fmt: skip


def _sentence(title: str) -> str:
    return title[:1].upper() + title[1:]
