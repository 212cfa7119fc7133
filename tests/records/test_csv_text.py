"""Are texts written to CSV so that no spreadsheet runs them, and read back as they were?"""

from __future__ import annotations

import csv
import io
import itertools

import numpy as np
import pandas as pd
import pytest
from shell import metabench

from metabench.records.csv_text import escaped, from_csv, to_csv, unescaped
from metabench.records.rows import Row, to_table

FORMULAS = [
    "=cmd|' /C calc'!A0",
    "+1+cmd",
    "-2+3+cmd|x",
    "@SUM(1+9)",
    "\t=1",
    "\r=1",
    "'=1",
    "''+x",
]
PLAIN = ["maml", "a = b", "'quoted'", "", "it's", "0.weight", " = "]
NUMBERS = ["-1.5", "+3", "-inf", "-nan", "1e5", "-1e-5"]


@pytest.mark.parametrize("text", FORMULAS)
def test_a_formula_gets_an_apostrophe_and_loses_it_again(text):
    assert escaped(text) == f"'{text}"
    assert unescaped(escaped(text)) == text


@pytest.mark.parametrize("text", [*PLAIN, *NUMBERS])
def test_other_texts_and_numbers_stay_as_they_are(text):
    assert escaped(text) == unescaped(text) == text


def test_every_short_text_comes_back_and_none_begins_a_formula():
    for length in range(4):
        for text in map("".join, itertools.product("'=+-@\t\ra1.", repeat=length)):
            written = escaped(text)

            assert unescaped(written) == text
            assert not written.startswith(("=", "@", "\t", "\r"))
            assert not written.startswith(("+", "-")) or np.isfinite(float(written))


def test_no_cell_of_a_written_table_is_a_formula_and_the_table_comes_back():
    table = pd.DataFrame({"=header": FORMULAS, "value": [-1.5, 2.0] * 4, "of": [*NUMBERS, "", "a"]})

    text = to_csv(table)

    cells = [cell for line in csv.reader(io.StringIO(text, newline="")) for cell in line]
    assert not any(cell.startswith(("=", "@", "\t", "\r")) for cell in cells)
    assert all(float(cell) is not None for cell in cells if cell.startswith(("+", "-")))
    read = from_csv(pd.read_csv(io.StringIO(text), keep_default_na=False, dtype={"of": str}))
    pd.testing.assert_frame_equal(read, table, check_dtype=False)


def test_a_report_of_such_a_table_gives_the_same_table_again(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rows = [Row("=1+1", of="@x", layer="-cmd", value=float(i), at=float(i)) for i in range(3)]
    table = to_table(rows, {"algo": {"name": "=evil()"}, "seed": 0})
    (tmp_path / "first.csv").write_text(to_csv(table))

    for source, made in (("first.csv", "second.csv"), ("second.csv", "third.csv")):
        assert metabench("report", source, "--table", made, "--figures", "0").exit_code == 0

    second, third = ((tmp_path / name).read_text() for name in ("second.csv", "third.csv"))
    assert second == third
    assert "'=evil()" in second
    assert ",=" not in second
