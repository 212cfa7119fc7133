"""Is a finding linked to a figure only if that figure draws its evidence?"""

from __future__ import annotations

import pytest

from metabench.probes.base import Drawing
from metabench.records.rows import Finding, Row, to_table
from metabench.report.figures import hooks, showing

ROWS = [
    Row("norm", at=1.0, value=2.0),
    Row("growth", value=1.1),
    Row("drift", at=1.0, value=3.0, layer="2.bias"),
    Row("drift", at=1.0, status="diverged", layer="4.bias"),
]


def drawing(*shows):
    return Drawing(" ".join(shows) or "anything", "", lambda axes: None, shows)


def linked(drawings, row):
    finding = Finding("it", "info", "fine", "It is so.", "", (row,))
    hook = showing(hooks(0, drawings, to_table(ROWS), ""), (), finding)
    return hook and hook.drawing.title


@pytest.mark.parametrize(
    ("row", "title"),
    [
        (ROWS[0], "norm"),
        (ROWS[1], None),  # no figure draws growth
        (ROWS[2], "drift"),
        (ROWS[3], None),  # the figure of drift has no number of this layer
        (Row("drift", value=3.0, of="momentum", layer="2.bias"), None),
    ],
)
def test_a_finding_is_linked_to_the_figure_that_draws_its_row(row, title):
    assert linked([drawing(), drawing("norm"), drawing("drift")], row) == title


def test_a_figure_of_unnamed_quantities_is_linked_if_it_is_the_only_one():
    assert linked([drawing()], ROWS[1]) == "anything"
    assert linked([drawing(), drawing("norm")], ROWS[1]) is None
