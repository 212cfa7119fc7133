"""Does a file stand in for options and settings, and the command line override it?"""

from __future__ import annotations

from pathlib import Path

import pytest
import shell

FILE = """
seed = 3
tasks = 64
dtype = "float64"

[algo]
name = "fomaml"
steps = 3
inner_optimizer.name = "adam"
inner_optimizer.rate = 0.001

[family]
name = "quadratic"

[probe]
redrawn_tasks = 0
sizes = [1, 2]
"""
WORDS = ("--seed", "3", "--tasks", "64", "--dtype", "float64", "--algo", "fomaml")
WORDS += ("--family", "quadratic", "--set", "algo.steps=3")
WORDS += ("--set", "algo.inner_optimizer=adam", "--set", "algo.inner_optimizer.rate=0.001")
WORDS += ("--set", "probe.redrawn_tasks=0", "--set", "probe.sizes=1,2")


@pytest.fixture(autouse=True)
def there(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("run.toml").write_text(FILE)


def test_the_file_is_the_same_as_its_options():
    ours = shell.measured("variance", "--config", "run.toml")
    theirs = shell.measured("variance", *WORDS)

    assert ours["spec"] == theirs["spec"]
    assert shell.numbers(ours["rows"]) == shell.numbers(theirs["rows"])


def test_the_command_line_overrides_the_file_and_the_next_command_has_both():
    more = ("--config", "run.toml", "--seed", "4", "--set", "algo.steps=2")
    found = shell.metabench("variance", *more).stdout

    assert found.startswith("variance of fomaml on quadratic: K = 2, alpha = 0.001 (adam)")
    assert "seed 4" in found.splitlines()[0]
    (following,) = (line for line in found.splitlines() if line.startswith("next "))
    for each in ("--tasks 64", "--seed 4", "algo.inner_optimizer=adam", "--dtype float64"):
        assert each in following


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("sed = 3", "There is no key 'sed' in run.toml"),
        ("[algo]\nstep = 3\nname = 'maml'", "did you mean 'algo.steps'"),
        ("seed = ", "run.toml is not TOML"),
        ("seed = 'many'", "'many' is not a valid integer"),
    ],
)
def test_a_wrong_file_is_a_sentence(text, sentence):
    Path("run.toml").write_text(text)

    result = shell.metabench("variance", "--config", "run.toml")

    assert result.exit_code == 2
    assert sentence in result.stderr


def test_a_checkup_takes_its_outer_loop_from_a_file():
    Path("run.toml").write_text("family = 'quadratic'\nprobe = 'verify'\n[outer]\nbatch = 4\n")

    record = shell.measured("diagnose", "--config", "run.toml", "--try", "0", "--quiet")

    assert record["spec"]["outer"]["batch"] == 4
    assert record["spec"]["family"]["name"] == "quadratic"
