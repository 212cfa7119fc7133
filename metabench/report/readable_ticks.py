"""Ticks that can be read: at least three labelled ones on every axis of a figure."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from metabench.records.number_format import number

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis

FEWEST, MOST = 3, 7  # labelled ticks of an axis
STEPS = ((1,), (1, 3), (1, 2, 5), (1, 1.5, 2, 3, 5, 7))  # of a decade, coarse to fine


CLOSEST = 0.06  # of two labels, as a share of the axis


def make_readable(axes: Axes) -> None:
    """Label more ticks of a logarithmic axis that shows fewer than three, and none over another."""
    for axis in (axes.xaxis, axes.yaxis):
        if axis.get_scale() == "symlog":
            _thin(axis)
        if axis.get_scale() in ("log", "symlog") and len(labelled(axis)) < FEWEST and _shown(axis):
            low, high = sorted(axis.get_view_interval())
            places = ticks(low, high)
            axis.set_ticks(places, [number(place) for place in places])
            axis.set_ticks([], minor=True)


def _thin(axis: Axis) -> None:
    """Keep of an axis with both signs the labels that don't touch: zero and the largest first."""
    places = labelled(axis)
    where = axis.get_transform().transform
    ends = where(np.array(sorted(axis.get_view_interval())))
    at = dict(zip(places, where(np.array(places)) / float(np.ptp(ends)), strict=True))
    kept: list[float] = []
    for place in sorted(places, key=lambda each: (each != 0, -abs(at[each] - at.get(0.0, 0.0)))):
        if all(abs(at[place] - at[other]) >= CLOSEST for other in kept):
            kept.append(place)
    if len(kept) < len(places):
        axis.set_ticks(sorted(kept), [number(place) for place in sorted(kept)])


def labelled(axis: Axis) -> list[float]:
    """Return the places of an axis that have a label within what is shown."""
    low, high = sorted(axis.get_view_interval())
    major = zip(axis.get_majorticklocs(), axis.get_majorticklabels(), strict=False)
    minor = zip(axis.get_minorticklocs(), axis.get_minorticklabels(), strict=False)
    shown = [(place, text.get_text()) for place, text in (*major, *minor)]
    return [float(place) for place, text in shown if text and low <= place <= high]


def ticks(low: float, high: float) -> list[float]:
    """Return three to seven round numbers within limits, evenly spread on a logarithmic axis.

    A range with zero or below is split into its positive and negative halves.

    >>> ticks(0.8, 45), ticks(-50, 3e4)
    ([1.0, 3.0, 10.0, 30.0], [-10.0, 0.0, 100.0, 10000.0])
    """
    if low <= 0:
        top = ticks(max(high * 1e-4, 1e-300), high)[-1::-2][:2] if high > 0 else []
        below = [-place for place in ticks(max(-low * 1e-4, 1e-300), -low)[-1:]] if low < 0 else []
        return [*below, 0.0, *reversed(top)]
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    for steps in STEPS:
        found = [step * 10.0**decade for decade in decades for step in steps]
        found = [place for place in found if low <= place <= high]
        if len(found) >= FEWEST:
            return found[:: -(-len(found) // MOST)]
    return [low, math.sqrt(low * high), high]


def _shown(axis: Axis) -> bool:
    """Return whether an axis has ticks at all; a figure that says why it is empty has none."""
    return len(axis.get_majorticklocs()) > 0
