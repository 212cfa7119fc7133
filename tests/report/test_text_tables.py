"""Do tables for people say every number, its interval, or the reason why there is none?"""

from __future__ import annotations

import pytest

from metabench.probes.base import Probe
from metabench.probes.variance import Variance
from metabench.records.rows import Row, flatten, from_table, to_table
from metabench.report.text_tables import by_axis, cell, overall

ROWS = [
    Row("variance", at=2.0, value=4.0, low=3.5, high=4.5),
    Row("variance", at=1.0, value=8.0, low=7.0, high=9.0),
    Row("diverged", at=1.0, value=0.0),
    Row("snr", at=1.0, status="withheld"),
    Row("slope", value=-1.0, low=-1.125, high=-0.9),
]


@pytest.mark.parametrize(
    ("row", "text"),
    [
        (Row("q", value=1.0), "1"),
        (Row("q", value=1.5, low=1.0, high=2.0), "1.5 [1, 2]"),
        (Row("q", value=40.0, low=21.0, status="unbounded"), "40 [21, unbounded]"),
        (Row("q", low=21.0, status="unbounded"), "unbounded [21, unbounded]"),
        (Row("q", value=0.1, low=-1.0, high=1.0, status="unresolved"), "0.1 [-1, 1] (unresolved)"),
        (Row("q", status="overflow"), "overflow"),
        (Row("diverged", value=0.5, low=0.25, high=0.75, status="diverged"), "0.5 [0.25, 0.75]"),
        (None, ""),
    ],
)
def test_a_cell_says_the_number_or_why_there_is_none(row, text):
    assert cell(row) == text


def test_places_of_the_axis_are_lines_in_order():
    found = by_axis(to_table(ROWS), "B")

    assert found.header == ("B", "variance", "signal-to-noise")
    assert found.lines == (("1", "8 [7, 9]", "withheld"), ("2", "4 [3.5, 4.5]", ""))


def test_divergence_is_a_column_once_something_diverged():
    hit = Row("diverged", at=2.0, value=0.5, low=0.25, high=0.75, status="diverged")

    found = by_axis(to_table([*ROWS, hit]), "B")

    assert found.header == ("B", "variance", "diverged", "signal-to-noise")
    assert [line[2] for line in found.lines] == ["0", "0.5 [0.25, 0.75]"]


def test_what_has_no_place_stands_apart():
    assert overall(to_table(ROWS), Probe()).lines == (("slope", "-1 [-1.12, -0.9]"),)


def test_numbers_are_explained_where_the_probe_says_what_they_are():
    found = overall(to_table(ROWS), Variance())

    assert found.header[-1] == "meaning [unit]"
    assert found.lines[0][-1].startswith("exponent of the variance")


def test_rows_survive_the_table():
    table = to_table(ROWS, {"seed": 3})

    found = [
        row for name in ("variance", "diverged", "snr", "slope") for row in from_table(table, name)
    ]
    assert found == ROWS
    assert list(table["seed"]) == [3] * len(ROWS)


def test_rows_survive_a_csv_file(tmp_path):
    """Nothing but an empty cell stands for a number that isn't there."""
    import pandas as pd

    path = tmp_path / "table.csv"
    to_table(ROWS).to_csv(path, index=False)

    read = pd.read_csv(
        path,
        dtype={"of": str, "layer": str},
        keep_default_na=False,
        na_values={name: [""] for name in ("at", "value", "low", "high")},
    )
    assert from_table(read, "snr") == [ROWS[3]]
    assert from_table(read, "variance") == ROWS[:2]


def test_a_settings_column_is_named_by_its_path():
    spec = {
        "algo": {"name": "maml", "inner_optimizer": {"name": "sgd", "rate": 0.1}},
        "sizes": [1, 2],
    }

    found = dict(flatten(spec))

    assert found == {
        "algo": "maml",
        "algo.inner_optimizer": "sgd",
        "algo.inner_optimizer.rate": 0.1,
        "sizes": "1 2",
    }
