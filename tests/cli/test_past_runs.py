"""Are past runs listed, shown as they were printed, and compared number by number?"""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import shell

from metabench.records import run_folders

SMALL = ("variance", "--family", "quadratic", "--tasks", "64", "--set", "probe.redrawn_tasks=0")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Three runs: one, the same with K = 3, the same on other tasks; and a checkup."""
    place = tmp_path_factory.mktemp("runs")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        printed = shell.metabench(*SMALL).stdout
        shell.metabench(*SMALL, "--set", "algo.steps=3", "--set", "algo.inner_optimizer.rate=0.3")
        shell.metabench(*SMALL, "--seed", "1")
        shell.metabench("diagnose", "--family", "quadratic", "--probe", "verify", "--try", "0")
    return place, printed


@pytest.fixture(autouse=True)
def there(folder, monkeypatch):
    monkeypatch.chdir(folder[0])


def test_folders_are_told_apart_by_their_names():
    names = sorted(path.name for path in Path("metabench-runs").iterdir())

    assert [re.sub(r"[0-9a-f]{6}$", "#", name) for name in names] == [
        "diagnose-maml-quadratic-K1-#",
        *["variance-maml-quadratic-K1-#"] * 2,
        "variance-maml-quadratic-K3-#",
    ]


def test_runs_lists_date_verdict_and_command():
    listed = shell.metabench("runs").stdout
    plain = json.loads(shell.metabench("runs", "--json").stdout)

    assert [line["run"].partition("-")[0] for line in plain] == [*["variance"] * 3, "diagnose"]
    assert all(re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d", line["date"]) for line in plain)
    assert plain[0]["verdict"].startswith("No problem found, 3 fine (noise scale")
    assert plain[-1]["verdict"].startswith("1 of 1 probes measured.")
    for line in plain:
        assert f"{line['date']}  {line['run']}\n  {line['verdict']}\n" in listed


def test_a_run_is_shown_as_it_was_printed(folder):
    (name,) = re.findall(r"page +metabench-runs/(.+)/page\.html", folder[1])

    shown = shell.metabench("show", name)
    record = shell.metabench("show", f"metabench-runs/{name}", "--json")
    checkup = shell.metabench("show", "diagnose")

    assert shown.exit_code == 0
    assert shown.stdout.partition("\npage")[0] == folder[1].partition("\npage")[0]
    whole = Path("metabench-runs", name, "record.json").read_text()
    assert json.loads(record.stdout) == json.loads(whole)
    assert checkup.stdout.startswith("diagnose of maml on quadratic")
    assert "checks of the meta-gradient passed" in checkup.stdout


def test_two_runs_are_compared_with_differences_and_intervals():
    names = {path.name.split("-")[3]: path.name for path in Path("metabench-runs").glob("v*K3*")}
    first = shell.metabench("runs", "--json").stdout
    one = json.loads(first)[0]["run"]

    text = shell.metabench("compare", one, names["K3"]).stdout
    plain = json.loads(shell.metabench("compare", one, names["K3"], "--json").stdout)

    assert "algo.steps is 1 in A and 3 in B" in text
    assert "the same tasks" in text
    assert "differs" in text
    found = {(each["quantity"], each["at"]): each for each in plain["quantities"]}
    noise = found["task_variance", None]
    assert noise["difference"][0] == pytest.approx(noise["b"] - noise["a"])
    assert noise["difference"][1] < noise["difference"][0] < noise["difference"][2]
    assert not any("seconds" in quantity for quantity, _ in found)


def test_runs_on_other_tasks_are_compared_as_independent():
    one, _, other, _ = (
        line["run"] for line in json.loads(shell.metabench("runs", "--json").stdout)
    )

    assert "The tasks differ" in shell.metabench("compare", one, other).stdout
    assert (
        json.loads(shell.metabench("compare", one, other, "--json").stdout)["same_tasks"] is False
    )


def test_what_can_not_be_found_or_compared_is_a_sentence():
    none = shell.metabench("show", "varianze-maml")
    many = shell.metabench("show", "variance-maml")
    apart = shell.metabench("compare", "diagnose", "K3")

    assert [each.exit_code for each in (none, many, apart)] == [2, 2, 2]
    assert "3 runs have 'variance-maml' in their name" in many.stderr
    assert "give two runs of one probe" in apart.stderr


def test_a_run_that_is_stopped_leaves_no_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def stop(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("metabench.cli.probe.run.to_table", stop)

    assert shell.metabench(*SMALL).exit_code == 130
    assert list((tmp_path / "metabench-runs").iterdir()) == []


def test_a_member_of_a_file_gives_a_folder_a_plain_name():
    spec = {"algo": {"name": "a b/../my.py@0123456789ab:Mine"}, "family": {"name": "x y/z"}}

    assert run_folders.run_name("hello", spec, "0123456789ab") == "hello-Mine-x_y_z-012345"
