"""Does the README do what it says?"""

from __future__ import annotations

import json
import math
import re
import shlex
from pathlib import Path

import pytest
from click.testing import CliRunner

from metabench.cli import main

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
RECORD = (ROOT / "docs" / "record.md").read_text(encoding="utf-8")


def blocks(text: str, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", text, flags=re.DOTALL)


def test_the_python_example_runs(tmp_path, monkeypatch, capsys):
    (example,) = blocks(README, "python")
    monkeypatch.chdir(tmp_path)

    exec(compile(example, "README.md", "exec"), {})

    assert "Noise equals signal" in capsys.readouterr().out
    assert "<svg" in (tmp_path / "page.html").read_text(encoding="utf-8")


def shell_commands() -> list[str]:
    lines = [line for block in blocks(README, "bash") for line in block.splitlines()]
    return [part.strip() for line in lines for part in line.split("&&") if "metabench " in part]


@pytest.mark.parametrize("command", shell_commands())
def test_every_command_of_the_readme_is_understood(command, tmp_path, monkeypatch):
    """Each is built as far as its measurement, which other tests run at a smaller size."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("metabench.command.run", lambda probe, **o: _build(probe, o))
    words = shlex.split(command.partition(">")[0])[1:]

    result = CliRunner().invoke(main, words)

    assert result.exit_code == 0, result.output


def _build(probe: str, options: dict) -> None:
    from metabench.command import build

    for name in ("as_json", "html", "csv", "quiet"):
        options.pop(name)
    assert build(probe, **options).spec()["seed"] == 0


def test_ci_runs_the_test_command_of_the_readme():
    (command,) = [line for line in README.splitlines() if line.endswith("&& pytest")]

    assert command in (ROOT / ".ci" / "run").read_text(encoding="utf-8").splitlines()


def test_the_golden_record_is_what_its_command_prints(tmp_path, monkeypatch):
    (command,), (golden,) = blocks(RECORD, "bash"), blocks(RECORD, "json")
    monkeypatch.chdir(tmp_path)

    result = CliRunner().invoke(main, shlex.split(command)[1:])

    assert result.exit_code == 0, result.output
    _same(json.loads(result.stdout), json.loads(golden), "record")


def _same(found: object, expected: object, where: str) -> None:
    """Everything equal, numbers to 1e-6; times, versions and the machine may differ."""
    if where.startswith("record.provenance"):
        assert type(found) is type(expected) or None in (found, expected), where
    elif isinstance(expected, dict):
        assert isinstance(found, dict)
        assert found.keys() == expected.keys(), where
        if "seconds" in (expected.get("quantity") or ""):
            assert found["value"] is None or found["value"] >= 0
            return
        for key, value in expected.items():
            _same(found[key], value, f"{where}.{key}")
    elif isinstance(expected, list):
        assert isinstance(found, list)
        assert len(found) == len(expected), where
        for i, value in enumerate(expected):
            _same(found[i], value, f"{where}[{i}]")
    elif isinstance(expected, float):
        assert isinstance(found, float)
        assert math.isclose(found, expected, rel_tol=1e-6), where
    else:
        assert found == expected, where
