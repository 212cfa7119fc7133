"""Is what can't be a table refused, in a sentence and at once?"""

from __future__ import annotations

import os

import pandas as pd
import pytest
from click.testing import CliRunner

from metabench.cli.main import main


def test_a_pipe_is_no_table(tmp_path, monkeypatch):
    """It would be waited for."""
    monkeypatch.chdir(tmp_path)
    os.mkfifo("x.csv")

    result = CliRunner().invoke(main, ["report", "x.csv", "-o", "page.html"])

    assert result.exit_code == 2
    assert "x.csv is not an ordinary file." in " ".join(result.output.split())


ODD = {
    "text for seconds": ("quantity,value,seconds\na,1,abc\n", "Column 'seconds' of x.csv must"),
    "more values than columns": ("quantity,value\na,1,2,3\nb,1\n", "more values than columns"),
    "one value too many": ("quantity,value\na,1,2\n", "more values than columns"),
    "two columns of a name": ("quantity,quantity,value\na,b,1\n", "two columns 'quantity'"),
}


@pytest.mark.parametrize("kind", ODD)
def test_a_table_that_is_none_is_refused_by_name(tmp_path, monkeypatch, kind):
    monkeypatch.chdir(tmp_path)
    text, said = ODD[kind]
    (tmp_path / "x.csv").write_text(text)

    result = CliRunner().invoke(main, ["report", "x.csv", "-o", "page.html"])

    assert result.exit_code == 2
    assert said in " ".join(result.output.split())


@pytest.mark.parametrize("value", [{"a": 1}, [1, 2]])
def test_columns_of_lists_and_structures_are_refused_by_name(tmp_path, monkeypatch, value):
    pytest.importorskip("pyarrow")
    monkeypatch.chdir(tmp_path)
    pd.DataFrame({"quantity": ["a"], "value": [1.0], "probe": [value]}).to_parquet("x.parquet")

    result = CliRunner().invoke(main, ["report", "x.parquet", "-o", "page.html"])

    assert result.exit_code == 2
    assert "Column 'probe' of x.parquet must contain plain values" in " ".join(
        result.output.split()
    )
