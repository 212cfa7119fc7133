"""Does docs/own_black_boxes.md do what it says?"""

from __future__ import annotations

import re
from pathlib import Path

import oracles
from click.testing import CliRunner

import metabench as mb
from metabench.cli.main import main

PAGE = Path(__file__).parents[2] / "docs" / "own_black_boxes.md"
CODE = "\n".join(re.findall(r"```python\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL))


def test_both_estimators_of_the_page_are_maml():
    my: dict = {}
    exec(compile(CODE, "my.py", "exec"), my)
    problem, address = my["problem"], mb.Address.fresh(0, 2)
    maml = mb.MAML(5, mb.SGD(0.01))

    found = [
        mb.Subject(problem, problem.tasks, estimator, problem.theta).meta_gradients(address, 0).grad
        for estimator in (maml, my["mine"], my["theirs"])
    ]

    assert max(oracles.relative(grad, found[0]) for grad in found[1:]) < 1e-5


def test_verify_finds_the_pages_estimator_right(tmp_path, monkeypatch):
    (tmp_path / "my.py").write_text(CODE, encoding="utf-8")
    monkeypatch.chdir(tmp_path)

    options = ["--set", "probe.tasks=2", "--set", "probe.thorough=false"]
    result = CliRunner().invoke(
        main, ["verify", "--problem", "my.py:problem", "--algo", "my.py:mine", *options]
    )

    assert result.exit_code == 0, result.output
    assert "finite differences" in result.output
    assert "WARNING" not in result.output
