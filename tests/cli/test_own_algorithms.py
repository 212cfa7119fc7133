"""Is the algorithm that the documentation writes held to the contract, and measured as it is?"""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from click.testing import CliRunner

from metabench.cli.main import main

PAGE = Path(__file__).parents[2] / "docs" / "own_algorithms.md"
DAMPED, *_ = re.findall(r"```python\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)


@pytest.fixture(autouse=True)
def own_file(tmp_path, monkeypatch):
    """The algorithm of the documentation, in a file beside the user."""
    monkeypatch.chdir(tmp_path)
    Path("my.py").write_text(DAMPED)


def metabench(*words):
    return CliRunner().invoke(main, words, catch_exceptions=False)


def test_it_keeps_the_contract_of_algorithms():
    result = metabench("contract", "my.py:Damped")

    assert result.exit_code == 0, result.output


def test_a_damped_meta_gradient_is_biased_along_the_exact_one():
    """Damped to a half, it errs by as much as it has left, and by no angle."""
    small = (
        "--tasks",
        "64",
        "--set",
        "probe.redrawn_tasks=32",
        "--set",
        "probe.shot_multiples=0",
        "--json",
    )

    record = json.loads(
        metabench(
            "variance", "--algo", "my.py:Damped", "--family", "quadratic", "--dtype", "float64",
            "--set", "algo.factor=0.5", *small,
        ).stdout
    )  # fmt: skip

    rows = [row for row in record["rows"] if row["layer"] == ""]
    (cosine,) = [row for row in rows if row["quantity"] == "cosine"]
    (bias,) = [row for row in rows if row["quantity"] == "bias" and row["of"] == "estimator"]
    assert cosine["value"] == pytest.approx(1.0, rel=1e-12)
    assert bias["status"] == "ok"


def test_a_subclass_that_inherits_a_claim_it_breaks_is_refused_by_the_contract():
    text = DAMPED.replace("(mb.Algorithm)", "(mb.MAML)")
    Path("my.py").write_text(text.replace("return False", "return True"))

    result = metabench("contract", "my.py:Damped")

    assert result.exit_code == 2
    assert "finite differences of its loss say" in result.output
