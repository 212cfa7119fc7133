"""Do the pages on own algorithms, families and probes do what they say, command by command?"""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
from shell import metabench

DOCS = Path(__file__).parent.parent / "docs"
PAGES = ("own_algorithms.md", "own_families.md", "own_probes.md")


def blocks(page, language):
    text = (DOCS / page).read_text(encoding="utf-8")
    return re.findall(rf"```{language}\n(.*?)```", text, flags=re.DOTALL)


def commands():
    return [
        (page, line)
        for page in PAGES
        for block in blocks(page, "bash")
        for line in block.splitlines()
    ]


@pytest.mark.parametrize(("page", "command"), commands())
def test_a_command_on_the_file_of_the_page_runs_and_shows_the_member_by_its_file(
    page, command, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    Path("my.py").write_text("\n\n".join(blocks(page, "python")), encoding="utf-8")

    result = metabench(*shlex.split(command)[1:])

    assert result.exit_code == 0, result.output
    if "--help" not in command and "contract" not in command:
        (made,) = Path("metabench-runs").rglob("page.html")
        html = made.read_text(encoding="utf-8")
        shown = re.sub(r"<code>.*?</code>|href=.data:\S*", "", html)  # settings keep the digest
        assert "my@" not in result.output + shown
    if command.startswith("metabench verify"):
        assert "wrong" not in result.stdout


def test_a_setting_that_is_not_used_is_refused_in_its_own_words(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("my.py").write_text("\n\n".join(blocks("own_algorithms.md", "python")))

    result = metabench("verify", "--algo", "my.py:Decayed", "--set", "algo.batch=2")

    assert result.exit_code == 2
    assert "Decayed takes whole support sets; leave batch at 0." in result.stderr
