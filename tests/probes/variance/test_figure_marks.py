"""Does the figure of the variance show the crossing and your B, where they lie in it?"""

from __future__ import annotations

import pytest
from default_jobs import default_job
from matplotlib.figure import Figure

import metabench as mb


def labels(probe, table):
    axes = Figure().subplots()
    probe.draw(table, axes)
    return {text.get_text() for text in axes.get_legend().get_texts()}, axes


def test_the_crossing_is_where_the_noise_scale_meets_the_signal():
    table = default_job("variance").table
    whole = table[table["at"].isna() & (table["layer"] == "")]
    value = {row.quantity: row.value for row in whole.itertuples()}

    named, axes = labels(mb.Variance(), table)

    assert {"your B = 25", "noise scale 5.61 tasks"} <= named
    (cross,) = (line for line in axes.lines if line.get_marker() == "X")
    assert cross.get_xdata()[0] == value["noise_scale"]
    assert cross.get_ydata()[0] == value["mean_norm_squared"]
    ratio = value["task_variance"] / cross.get_xdata()[0]
    assert ratio == pytest.approx(cross.get_ydata()[0], rel=1e-3)


def test_what_lies_far_beyond_the_measured_batches_is_not_marked():
    table = default_job("variance").table.copy()
    table.loc[table["quantity"] == "noise_scale", "value"] = 1e5

    named, axes = labels(mb.Variance(batch=4000), table)

    assert not any(name.startswith(("your B", "noise scale")) for name in named)
    assert axes.get_xlim()[1] < 200
