"""Do commands go on without a record that was damaged, say so, and measure it again?"""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest
from shell import metabench

from metabench.records.store.store import Store

STUDY = """
seed = "range(2)"
[probe]
name = "verify"
thorough = false
[algo]
name = "maml"
[family]
name = "quadratic"
dim = 3
"""


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    """A study with two cells, both done."""
    place = tmp_path_factory.mktemp("study")
    (place / "study.toml").write_text(STUDY)
    store = place / "metabench-runs" / "study"
    study = str(place / "study.toml")
    result = metabench("grid", study, "--executor", "inline", "--quiet", "--store", store)
    assert result.exit_code == 0, result.output
    return place


@pytest.fixture
def store(measured, tmp_path, monkeypatch):
    """Its copy in which the first cell's record was damaged; the second is whole."""
    shutil.copytree(measured, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    store = Store(Path("metabench-runs") / "study")
    path = store.path(min(store.standing()))
    whole = path.read_bytes()
    middle = len(whole) // 2
    path.write_bytes(whole[: middle - 250] + b"\x00" * 500 + whole[middle + 250 :])
    return store


READERS = {
    "status": ["status", "study.toml"],
    "show": ["show", "study.toml"],
    "plan": ["plan", "study.toml"],
    "compact": ["compact", "study.toml"],
    "compare": ["compare", "study.toml", "whole"],
    "report study": ["report", "study.toml", "--figures", "0"],
    "report store": ["report", "metabench-runs/study", "--figures", "0"],
}


@pytest.mark.parametrize("form", [[], ["--json"]], ids=["text", "json"])
@pytest.mark.parametrize("reader", READERS)
def test_a_reader_goes_on_says_so_and_exits_with_3(store, measured, reader, form):
    lost, kept = sorted(store.standing())
    if reader == "compare":
        (Path("whole")).symlink_to(measured / "metabench-runs" / "study")
    elif reader.startswith("report") and form:
        pytest.skip("a report has one form")

    result = metabench(*READERS[reader], *form)

    assert result.exit_code == 3, result.output
    assert f"{lost}.json is not a record" in result.output
    if reader in ("show", "plan"):
        assert kept in result.stdout
    assert store.path(lost).exists()  # nobody but the grid moves it


def test_the_next_grid_sets_it_aside_and_measures_it_again(store, measured):
    lost, _ = sorted(store.standing())

    result = metabench("grid", "study.toml", "--executor", "inline", "--quiet")

    assert result.exit_code == 0, result.output
    assert "cells  2 done, 0 to go" in result.stdout
    assert f"{lost}.json is not a record" in result.stderr
    assert "The file is kept as" in result.stderr
    assert len(list(store.aside.glob("*/*"))) == 1
    again, first = (Store(place).read(lost)["rows"]
                    for place in (store.folder, measured / "metabench-runs" / "study"))  # fmt: skip
    assert again == first


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir, lambda p: p.symlink_to("nowhere")])
def test_what_lies_in_a_records_place_stops_no_grid(store, make):
    lost, kept = sorted(store.standing())
    for digest in (lost, kept):
        store.path(digest).unlink()
        make(store.path(digest))

    assert metabench("status", "study.toml").exit_code == 3
    assert metabench("grid", "study.toml", "--executor", "inline").exit_code == 0

    assert set(store.standing().values()) == {"done"}


def test_one_cell_that_is_asked_for_and_broken_is_exit_2(store):
    lost, _ = sorted(store.standing())

    result = metabench("show", "study.toml", lost)

    assert result.exit_code == 2
    assert "is not a record" in " ".join(result.output.split())


def test_one_record_of_the_first_version_is_refused_by_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("old.json").write_text(json.dumps({"spec": {}, "rows": [], "findings": []}))

    result = metabench("report", "old.json")

    assert result.exit_code == 2
    assert "old.json was written by metabench 0.1; measure again." in result.output


def test_a_store_of_the_first_version_is_named_and_measured_again(store):
    for digest in store.standing():
        old = {"schema": 1, "digest": digest, "status": "ok", "spec": {}, "rows": []}
        store.path(digest).write_text(json.dumps(old) + "\n")
    (store.folder / "store.json").write_text('{"schema": 1}\n')

    status = metabench("status", "study.toml")
    went = metabench("grid", "study.toml", "--executor", "inline", "--quiet")

    assert status.exit_code == 3
    assert status.stderr.count("was written by metabench 0.1; measure again.") == 2
    assert went.exit_code == 0
    assert went.stderr.count("was written by metabench 0.1; measure again.") == 2
    assert set(store.standing().values()) == {"done"}


def test_of_several_runs_a_damaged_one_is_left_out(store):
    command = ["verify", "--family", "quadratic", "--set", "family.dim=3", "--quiet", "--seed"]
    for seed in (0, 1):
        assert metabench(*command, seed).exit_code == 0
    one, _ = sorted(Path("metabench-runs").glob("verify-*/record.json"))
    one.write_text("{}")

    result = metabench("report", "metabench-runs", "--figures", "0")

    assert result.exit_code == 3, result.output
    assert f"{one} is not a record" in result.output
    assert "1 cell, verify" in Path("page.html").read_text()
