"""How are algorithms drawn in one figure: as lines, or as points?"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from metabench.probes.base import Drawing
from metabench.report.labels import said
from metabench.report.text_tables import words

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

LINES = 6  # curves in one figure: beyond it neither colors nor dashes are told apart
DASHES = ("-", "--", ":", "-.", (0, (5, 1)), (0, (1, 1)))
MARKERS = "osD^vX"
FEW = 8  # places on an axis that each get a tick and a bar; more are a band
INTERVALS = "Bars and bands are 95 % intervals, over seeds where there are several."


def lines(title: str, data: pd.DataFrame, axis: str, quantity: str) -> Drawing:
    """Draw a line for each algorithm, over `x`, with its intervals."""
    names = list(dict.fromkeys(data["algorithm"]))
    shown = names[:LINES]
    caption = f"{INTERVALS} Each line is an algorithm with its settings."
    if len(names) > LINES:
        caption += f" The first {LINES} of {len(names)} are drawn; the CSV holds all."

    def draw(axes: Axes) -> None:
        import seaborn as sns

        colors = sns.color_palette("colorblind", len(shown))
        for i, name in enumerate(shown):
            part = data[(data["algorithm"] == name) & data["value"].notna()].sort_values("x")
            style: Any = {"linestyle": DASHES[i], "marker": MARKERS[i], "color": colors[i]}
            low, high = (part[end].fillna(part["value"]) for end in ("low", "high"))
            if len(part) > FEW:
                axes.fill_between(part["x"], low, high, color=colors[i], alpha=0.15, linewidth=0)
            else:
                axes.vlines(part["x"], low, high, color=colors[i], alpha=0.5, linewidth=2.5)
            axes.plot(part["x"], part["value"], label=name, markersize=5, **style)
        _scaled(axes, data)
        axes.set(xlabel=words(axis), ylabel=words(quantity))
        _legend(axes, shown)
        sns.despine(ax=axes)

    named = data.rename(columns={"x": axis})
    return Drawing(_sentence(title), caption, draw, (quantity.partition(", ")[0],), named)


def points(title: str, data: pd.DataFrame, quantity: str) -> Drawing:
    """Draw a point for each algorithm, one below the other, with its interval."""
    shown = data[data["value"].notna()][:24]

    def draw(axes: Axes) -> None:
        import seaborn as sns

        color = sns.color_palette("colorblind", 1)[0]
        places = np.arange(len(shown))
        ends = [shown["value"] - shown["low"].fillna(shown["value"]),
                shown["high"].fillna(shown["value"]) - shown["value"]]  # fmt: skip
        bars = np.clip(np.array(ends, dtype=float), 0, None)
        axes.errorbar(shown["value"], places, xerr=bars, fmt="o", color=color, capsize=3)
        axes.set_yticks(places, list(shown["algorithm"]))
        axes.invert_yaxis()
        axes.set_xlabel(words(quantity))
        sns.despine(ax=axes)

    caption = f"{INTERVALS} An algorithm without a number isn't drawn."
    named = data.drop(columns="x")
    return Drawing(_sentence(title), caption, draw, (quantity.partition(", ")[0],), named)


def _scaled(axes: Axes, data: pd.DataFrame) -> None:
    """Choose logarithmic axes for what is positive and spans more than half a decade."""
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
    if len(places) <= FEW:
        axes.set_xticks(places, list(map(said, places)))
        axes.xaxis.set_minor_locator(NullLocator())
    elif axes.get_xscale() == "log":
        axes.xaxis.set_major_formatter(lambda x, _: f"{x:g}")
        axes.xaxis.set_minor_formatter(lambda x, _: "")


def _legend(axes: Axes, names: Sequence[str]) -> None:
    """Put the legend above the axes, where it hides nothing; long names one below the other."""
    columns = max(1, min(len(names), 64 // (max(map(len, names)) + 8)))
    axes.legend(frameon=False, loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=columns,
                fontsize=8)  # fmt: skip


def _sentence(title: str) -> str:
    return title[:1].upper() + title[1:]
