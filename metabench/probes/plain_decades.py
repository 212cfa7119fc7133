"""Logarithmic axes labeled with plain numbers: 1, 2 and 5 of each decade if they fit."""

from __future__ import annotations

from typing import TYPE_CHECKING

from matplotlib.ticker import LogLocator, NullLocator

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def plain_decades(axes: Axes) -> None:
    """Label the logarithmic y-axis with plain numbers."""
    low, high = axes.get_ylim()
    if high < 1000 * low:
        axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(lambda y, _: f"{y:g}")
    axes.yaxis.set_minor_formatter(lambda y, _: "")
