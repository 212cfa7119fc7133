"""Do the files that `metabench new` writes work as they are?"""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest
import shell

from metabench.cli.new.starts import STARTS


@pytest.fixture(autouse=True)
def there(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("kind", STARTS)
def test_the_file_is_short_and_the_suggested_command_runs_it(kind):
    wrote = shell.metabench("new", kind, "mine.py")
    words = shlex.split(wrote.stdout.partition("next   metabench ")[2])
    small = () if kind == "problem" else ("--family", "quadratic")

    ran = shell.metabench(*words, *small)

    assert wrote.exit_code == ran.exit_code == 0, ran.output
    assert "checks of the meta-gradient passed" in ran.stdout
    lines = [line for line in Path("mine.py").read_text().splitlines() if line.strip()]
    assert len(lines) <= 26


@pytest.mark.parametrize("kind", ["algorithm", "probe"])
def test_what_is_written_keeps_the_contract_of_its_kind(kind):
    shell.metabench("new", kind, "mine.py")

    held = shell.metabench("contract", "mine.py:Mine")

    assert held.exit_code == 0, held.output


def test_a_file_that_is_there_is_never_written_over():
    Path("mine.py").write_text("mine = 1\n")

    there, ending = (shell.metabench("new", "probe", name) for name in ("mine.py", "mine.txt"))

    assert (there.exit_code, ending.exit_code) == (2, 2)
    assert "mine.py is there already; give another name" in there.stderr
    assert "must end in .py" in ending.stderr
    assert Path("mine.py").read_text() == "mine = 1\n"
