"""Does one line of Python give what the command gives, and say where it can't?"""

from __future__ import annotations

import ast
import inspect
import json
from pathlib import Path

import pandas as pd
import probe_stubs
import pytest
import shell
import torch

import metabench as mb
from metabench.diagnosis import one_line
from metabench.measurement.checked_before import CheckedBefore
from metabench.probes import members
from metabench.settings import registry

SMALL = {"tasks": 64, "redrawn_tasks": 0, "dtype": "float64"}
WORDS = ["variance", "--family", "quadratic", "--tasks", "64", "--dtype", "float64"]
WORDS += ["--set", "probe.redrawn_tasks=0"]


@pytest.fixture(scope="module")
def result():
    return mb.variance("quadratic", **SMALL)


def without_seconds(table: pd.DataFrame) -> pd.DataFrame:
    return table[~table["quantity"].str.contains("seconds")].reset_index(drop=True)


@pytest.fixture(autouse=True)
def own_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def test_the_numbers_are_those_of_the_command_to_the_bit(result, tmp_path):
    ran = shell.metabench(*WORDS, "--set", "algo.steps=2", "--csv", "theirs.csv")
    assert ran.exit_code == 0, ran.output

    ours = mb.variance("quadratic", settings={"algo.steps": 2}, **SMALL)
    ours.save("ours.csv")

    one, other = (without_seconds(pd.read_csv(tmp_path / f"{n}.csv")) for n in ("ours", "theirs"))
    pd.testing.assert_frame_equal(one, other, check_exact=True)


def test_names_classes_and_instances_are_the_same_measurement(result):
    for family, algo, probe in (
        (mb.Quadratic, mb.MAML, mb.Variance),
        (mb.Quadratic(), mb.MAML(), mb.Variance(tasks=64, redrawn_tasks=0)),
    ):
        given = {} if isinstance(probe, mb.Probe) else {"tasks": 64, "redrawn_tasks": 0}
        other = mb.measure(family, probe, algo=algo, dtype="float64", **given)

        assert other.settings == result.settings
        pd.testing.assert_frame_equal(without_seconds(other.table), without_seconds(result.table))


def test_a_module_and_its_file_are_one_theta(tmp_path):
    torch.manual_seed(0)
    net, trained = torch.nn.Linear(2, 1), torch.nn.Linear(2, 1)

    def sample(indices, seed):
        noise = torch.Generator().manual_seed(seed)
        x = torch.randn(len(indices), 8, 2, generator=noise)
        return (x[:, :4], x[:, :4, :1]), (x[:, 4:], x[:, 4:, 1:])

    problem = mb.Problem.from_module(net, torch.nn.functional.mse_loss, tasks=mb.Indexed(sample))
    torch.save(trained.state_dict(), "theta.pt")

    forms = (trained, trained.state_dict(), problem.flatten(trained), "theta.pt", Path("theta.pt"))
    found = [mb.verify(problem, theta=theta, tasks=2, thorough=False) for theta in forms]
    initial = mb.verify(problem, tasks=2, thorough=False)

    assert len({each.rows for each in found}) == 1
    assert found[0].rows != initial.rows
    assert found[0].settings["theta"].startswith("Linear@")


def test_a_quantity_is_its_interval_and_never_a_layers(result):
    row = next(row for row in result.rows if row.quantity == "noise_scale" and not row.layer)
    layered = mb.variance("sinusoid", tasks=64, redrawn_tasks=32, shot_multiples=0)
    layers = [row for row in layered.rows if row.layer]

    assert result.noise_scale == (row.value, row.low, row.high, row.status)
    assert layers
    whole = {row for row in layered.rows if not row.layer}
    for name in {row.quantity for row in layers}:
        try:
            found = getattr(layered, name)
        except mb.InvalidInput:
            continue
        assert found in {(row.value, row.low, row.high, row.status) for row in whole}
    one = layers[0]
    chosen = layered.quantity(one.quantity, of=one.of, at=one.at, layer=one.layer)
    assert chosen.value == one.value


def test_a_name_of_several_numbers_is_a_sentence_with_the_choices(result):
    choices = r"variance has 3 numbers; choose one: \.quantity\('variance', at=1\), \.quantity"
    with pytest.raises(mb.InvalidInput, match=choices):
        _ = result.variance
    with pytest.raises(AttributeError, match="did you mean 'noise_scale'"):
        _ = result.noise
    with pytest.raises(mb.InvalidInput, match="has no number with at=3; choose one"):
        result.quantity("variance", at=3)
    assert not hasattr(result, "_ipython_display_")
    assert {"noise_scale", "table", "save"} <= set(dir(result))


def test_no_quantity_hides_behind_an_attribute_of_the_result(result):
    known = {
        key.partition("/")[0]
        for name in members.MEMBERS
        for key in registry.load("probes", name).meanings
    }

    assert known & set(object.__dir__(result)) == set()


def test_the_checks_are_made_once_for_a_subject_and_the_result_says_so():
    first = mb.variance("quadratic", seed=71, **SMALL)
    again = mb.spectrum("quadratic", seed=71, dtype="float64", tasks=8)
    other = mb.variance("quadratic", seed=72, **SMALL)

    assert (first.notes, other.notes) == ((), ())
    assert again.notes == (
        "The checks of the meta-gradient were made before for this subject, and not made again.",
    )
    checks = [[row for row in each.rows if row.quantity == "check"] for each in (first, again)]
    assert checks[0] == checks[1]


def test_checks_of_two_problems_with_equal_settings_are_two():
    def problem(factor):
        net = torch.nn.Linear(1, 1)
        for each in net.parameters():
            torch.nn.init.zeros_(each)
        x = torch.ones(1, 4, 1) * factor
        tasks = mb.Indexed(lambda indices, seed: ((x.expand(len(indices), -1, -1),) * 2,) * 2)
        return mb.Problem.from_module(net, torch.nn.functional.mse_loss, tasks=tasks)

    made = [
        mb.measurement.from_objects.build(given, "variance", tasks=64, chosen=None)
        for given in (problem(1.0), problem(2.0))
    ]
    kept = CheckedBefore()

    assert made[0].spec() == made[1].spec()
    assert [kept.rows(each, list)[1] for each in (*made, *made)] == [False, False, True, True]


def test_a_result_is_short_in_text_and_whole_in_a_notebook_and_in_files(result, tmp_path):
    shown = result._repr_html_()
    for name in ("page.html", "table.csv", "run.json", "figure.svg", "figure.png", "figure.pdf"):
        assert result.save(name).stat().st_size > 1000
    folder = result.save("all")

    assert repr(result).startswith("<variance of maml on quadratic: K = 1, alpha = 0.01, B = 25")
    assert result.verdict in repr(result)
    assert "<svg" in shown
    assert result.verdict in shown
    assert sorted(path.name for path in folder.iterdir()) == [
        "page.html",
        "record.json",
        "table.csv",
    ]
    assert json.loads((folder / "record.json").read_text())["settled"] == result.settings
    assert len(result.figure().axes) == 1
    with pytest.raises(mb.InvalidInput, match=r"ends in '\.doc'; give one of \.html"):
        result.save("page.doc")
    with pytest.raises(mb.InvalidInput, match="There is no figure 'tails'; there are 0: How noisy"):
        result.figure("tails")


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"steps": 5}, r"did you mean 'algo\.steps'.*settings=\{'algo\.steps': 5\}"),
        ({"settings": {"steps": 5}}, r"did you mean 'algo\.steps'"),
        ({"algo": mb.MAML(), "settings": {"algo.steps": 3}}, "The MAML is an instance already"),
        ({"algo": 3}, "The object of type int is no algorithm; give an object or a class"),
        ({"tasks": "many"}, "it must be a number of tasks"),
        ({"theta": 3}, "theta is a int; it must be a module, a state dict"),
        ({"tasks": 64, "settings": {"probe.tasks": 32}}, "tasks is 64 and probe.tasks is 32"),
    ],
)
def test_what_is_wrong_is_a_sentence_with_the_repair(given, sentence):
    with pytest.raises(mb.InvalidInput, match=sentence):
        mb.variance("quadratic", **given)


def test_every_listed_probe_is_a_function_that_help_and_editors_see():
    tree = ast.parse(Path(mb.__file__).read_text(encoding="utf-8"))
    seen = {
        alias.asname
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom)
        and node.module == "metabench.measurement.probe_functions"
        for alias in node.names
    }

    assert probe_stubs.STUB.read_text(encoding="utf-8") == probe_stubs.stub()
    assert seen == set(members.MEMBERS)
    for name in members.MEMBERS:
        function = getattr(mb, name)
        assert name in mb.__all__
        assert "Args:" in (inspect.getdoc(function) or "")
        assert {"problem", "theta", "settings"} <= set(inspect.signature(function).parameters)


def test_diagnose_is_the_twin_of_its_command():
    words = ["diagnose", "--family", "quadratic", "--probe", "verify", "--try", "0", "--quiet"]
    record = shell.measured(*words, "--budget", "30s", "--set", "outer.batch=4")

    found = mb.diagnose(
        "quadratic", probes=["verify"], steps=0, budget="30s", settings={"outer.batch": 4}
    )
    found.save("found")

    assert inspect.signature(one_line.diagnose).parameters["budget"].default == "3m"
    ours = json.loads(Path("found/record.json").read_text())
    assert ours["findings"] == record["findings"]
    assert ours["digest"] == record["digest"]
    assert found.parts["verify"].verdict in repr(found.parts["verify"])
    assert "1 of 1 probes measured." in found._repr_html_()
    assert found.verdict == (
        "1 of 1 probes measured. No fault found by the probes that were measured. Findings: 1 fine."
    )
