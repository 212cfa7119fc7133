"""Has every figure of every probe three labelled ticks an axis, and no point that hides others?"""

from __future__ import annotations

import numpy as np
import pytest
from default_jobs import PROBES, default_job
from matplotlib.backends.backend_agg import FigureCanvasAgg

from metabench.report.canvas import canvas
from metabench.report.readable_ticks import labelled, ticks

MOST_OF_AN_AXIS = 0.8  # between one point and all others


def drawn(name):
    job = default_job(name)
    for drawing in job.probe.drawings(job.table):
        figure = canvas(drawing.draw)
        FigureCanvasAgg(figure).draw()
        yield drawing.title, figure.axes


@pytest.mark.parametrize("name", PROBES)
def test_every_axis_has_three_labelled_ticks(name):
    for title, several in drawn(name):
        for axes in several:
            for axis in (axes.xaxis, axes.yaxis):
                places = labelled(axis) if axis.get_scale() != "linear" else _linear(axis)
                assert len(places) >= 3, (title, axis.axis_name)


def _linear(axis):
    low, high = sorted(axis.get_view_interval())
    return [place for place in axis.get_majorticklocs() if low <= place <= high]


@pytest.mark.parametrize("name", PROBES)
def test_no_point_takes_most_of_an_axis(name):
    for title, several in drawn(name):
        for axes in several:
            for line in axes.lines:
                drawn_on = ((line.get_xdata(), axes.xaxis), (line.get_ydata(), axes.yaxis))
                for values, axis in drawn_on:
                    gap = _largest_gap(np.asarray(values, dtype=float), axis)
                    assert gap <= MOST_OF_AN_AXIS, (title, line.get_label())


def _largest_gap(values, axis):
    """The widest distance between neighbours, as a share of the axis as it is drawn."""
    transform = axis.get_transform().transform
    low, high = (float(end) for end in transform(np.array(sorted(axis.get_view_interval()))))
    inside = np.sort(transform(values[np.isfinite(values)]))
    inside = inside[np.isfinite(inside)]
    if len(inside) < 4:  # a line between two points, or one that spans the axis
        return 0.0
    return float(np.diff(inside).max() / (high - low))


@pytest.mark.parametrize("low", [1e-12, 3e-3, 0.9, 40.0])
@pytest.mark.parametrize("ratio", [1.05, 2.0, 30.0, 1e4, 1e15])
def test_there_are_three_to_seven_ticks_inside_any_limits(low, ratio):
    found = ticks(low, low * ratio)

    assert 3 <= len(found) <= 7
    assert low <= found[0] < found[-1] <= low * ratio * (1 + 1e-12)
    assert found == sorted(found)
