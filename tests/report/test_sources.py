"""Is what can't be a table refused, in a sentence and at once?"""

from __future__ import annotations

import os

from click.testing import CliRunner

from metabench.cli.main import main


def test_a_pipe_is_no_table(tmp_path, monkeypatch):
    """It would be waited for."""
    monkeypatch.chdir(tmp_path)
    os.mkfifo("x.csv")

    result = CliRunner().invoke(main, ["report", "x.csv", "-o", "page.html"])

    assert result.exit_code == 2
    assert "x.csv is not an ordinary file." in " ".join(result.output.split())
