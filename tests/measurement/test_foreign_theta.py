"""Does a theta that was trained on something else say so, and can it be used all the same?"""

from __future__ import annotations

import json

import pytest
import torch
from click.testing import CliRunner
from safetensors.torch import save_file

from metabench.cli.main import main
from metabench.measurement.measurement import Measurement
from metabench.records.rows import to_table

CELL = {
    "probe": {"name": "verify"},
    "algo": {"name": "maml", "steps": 2},
    "family": {"name": "quadratic", "dim": 10},
    "seed": 0,
    "dtype": "float64",
    "device": "cpu",
}


@pytest.fixture(scope="module")
def theta(tmp_path_factory):
    path = tmp_path_factory.mktemp("trained") / "t.safetensors"
    result = CliRunner().invoke(
        main,
        ["train", "--family", "quadratic", "--steps", "2", "--save", str(path), "--quiet", "--set",
         "family.dim=10", "--set", "outer.held_out=4", "--set", "algo.steps=2",
         "--html", str(path.with_suffix(".html")), "--csv", str(path.with_suffix(".csv"))],
        catch_exceptions=False,
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    said = " ".join(result.stdout.split())
    hint = said.partition("next")[2]
    assert f"--theta {path} --set family.dim=10 --set algo.steps=2" in hint
    return str(path)


def look(theta, **changes):
    """Measure and diagnose; give what differs and the finding about it."""
    cell = Measurement.from_settings({**CELL, **changes, "theta": theta})
    rows = cell.measure()
    findings = [f for f in cell.find(to_table(rows, cell.spec())) if f.name == "foreign_theta"]
    return [row.of for row in rows if row.quantity == "theta"], findings


def test_a_theta_looked_at_as_it_was_trained_says_nothing(theta):
    assert look(theta) == ([], [])
    assert look("") == ([], [])


def test_another_family_of_the_same_shape_is_a_warning_that_names_the_field(theta):
    said, (finding,) = look(theta, family={"name": "logcosh"})

    assert said == ["family is quadratic there and logcosh here"]
    assert finding.level == "warning"
    assert "family is quadratic there and logcosh here" in finding.claim


def test_another_algorithm_is_an_information_that_names_the_field(theta):
    said, (finding,) = look(theta, algo={"name": "fomaml", "steps": 2})

    assert said == ["algo is maml there and fomaml here"]
    assert finding.level == "info"


def test_other_settings_are_named_but_not_how_the_same_is_computed(theta):
    family = {**CELL["family"], "shots": 3}
    said, _ = look(theta, family=family, algo={"name": "maml", "steps": 5, "rematerialize": "sqrt"})

    assert said == ["algo.steps is 2 there and 5 here", "family.shots is 10 there and 3 here"]


def test_a_file_of_anothers_tools_says_nothing_of_where_it_comes_from(tmp_path):
    save_file({"phi": torch.zeros(10).double()}, tmp_path / "other.safetensors")

    assert look(str(tmp_path / "other.safetensors")) == ([], [])


def test_a_training_that_starts_from_it_says_so_too(theta, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(
        main,
        ["train", "--family", "logcosh", "--theta", theta, "--steps", "1", "--quiet", "--json",
         "--set", "outer.held_out=4", "--set", "algo.steps=2"],
        catch_exceptions=False,
    )  # fmt: skip

    names = [finding["name"] for finding in json.loads(result.stdout)["findings"]]
    assert "foreign_theta" in names
