"""Does reading somebody's table, record or store run their code? Not unless the user names it."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest
import torch
from shell import metabench

from metabench.outer_loop.step_recorder import RingBuffer
from metabench.problems.tasks import Task
from metabench.records.record import compose
from metabench.records.rows import Row, to_table
from metabench.records.store.store import Store

EVIL = """
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from metabench import Finding, Probe

Path(__file__).with_name("marker").touch()


@dataclass(frozen=True)
class Evil(Probe):
    axis: ClassVar[str] = "at"
    question: ClassVar[str] = "Mine?"
    caption: ClassVar[str] = ""

    def measure(self, subject, seed, progress=None):
        return []

    def find(self, table):
        return [Finding("read", "info", "", "My own probe has read this.", "", ())]

    def draw(self, table, axes):
        axes.plot([0, 1])
"""
NAMES = ["evil.py:Evil", "evil_module:Evil", "evil@0123456789ab:Evil", "evil.py@0123456789ab:Evil"]
ROWS = [Row("length", at=float(i), value=i / 7, low=0.0, high=1.0) for i in (1, 2, 3)]
STUDY = """
[probe]
name = {name}
[algo]
name = "maml"
[family]
name = "quadratic"
"""
DIGEST = "0123456789ab"


@pytest.fixture(autouse=True)
def planted(tmp_path, monkeypatch):
    """The data's own code, both as a file beside it and as a module that could be imported."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    for name in ("evil.py", "evil_module.py"):
        # a module is known by its code
        (tmp_path / name).write_text(f"{EVIL}\nAT = {str(tmp_path)!r}\n")


def was_run():
    return Path("marker").exists()


def spec_of(name, part="probe", **probe):
    parts = {"probe": {"name": "verify", **probe}, "algo": {"name": "maml"},
             "family": {"name": "quadratic"}, "compute": {"batching": "loop"}}  # fmt: skip
    parts[part] = {**parts[part], "name": name}
    rest = {"seed": 0, "dtype": "float32", "device": "cpu", "theta": "initial"}
    return {**parts, **rest}


def a_table(spec):
    Path("table.csv").write_text(to_table(ROWS, spec).to_csv(index=False))
    return Path("table.csv")


def a_record(spec):
    Path("run").mkdir()
    made = compose(spec, ROWS, [], {})
    (Path("run") / "record.json").write_text(json.dumps(made))
    return Path("run")


def a_store(spec):
    settings = {**spec, "theta": ""}
    made = compose(spec, ROWS, None, {}, {"seconds": 1.0, "error": "", "settings": settings})
    Store(Path("metabench-runs") / "study").open().save(made, failed=False)
    return Path("metabench-runs") / "study"


@pytest.mark.parametrize("part", ["probe", "algo", "family"])
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("source", [a_table, a_record, a_store])
def test_a_report_runs_no_code_that_its_data_names(source, name, part):
    result = metabench("report", source(spec_of(name, part)), "--figures", "2")

    assert result.exit_code == 0, result.output
    assert not was_run()


@pytest.mark.parametrize("name", NAMES)
def test_a_table_of_an_unknown_probe_is_drawn_all_the_same(name):
    metabench("report", a_table(spec_of(name)))

    page = Path("page.html").read_text()
    assert "<svg" in page
    assert "length against at" in page
    assert "its code is not run" in page
    assert "--trust evil" in page


@pytest.mark.parametrize("name", NAMES)
def test_a_member_within_settings_is_not_imported_either(name):
    spec = spec_of("variance", optimizer=name)
    spec["probe"]["inner"] = {"name": name}

    metabench("report", a_table(spec), "--figures", "0")

    assert not was_run()


@pytest.mark.parametrize("words", [["show"], ["status"], ["plan"], ["compact"]])
@pytest.mark.parametrize("name", NAMES)
def test_looking_at_a_store_runs_no_code_that_its_records_name(name, words):
    Path("study.toml").write_text(STUDY.format(name='"verify"'))
    a_store(spec_of(name))

    metabench(words[0], "study.toml")

    assert not was_run()


@pytest.mark.parametrize("name", NAMES)
def test_showing_one_cell_shows_its_numbers_and_runs_nothing(name):
    Path("study.toml").write_text(STUDY.format(name='"verify"'))
    store = Store(a_store(spec_of(name)))
    (digest,) = store.standing()

    result = metabench("show", "study.toml", digest)

    assert result.exit_code == 0, result.output
    assert "0.143" in result.stdout
    assert "its code is not run" in result.stdout
    assert not was_run()


@pytest.mark.parametrize("part", ["probe", "algo", "family"])
@pytest.mark.parametrize("name", NAMES)
def test_measuring_a_cell_again_asks_whose_code_it_is(name, part):
    store = Store(a_store(spec_of(name, part)))
    (digest,) = store.standing()

    result = metabench("cell", digest)

    assert result.exit_code == 2
    assert "its code is not run" in " ".join(result.output.split())
    assert not was_run()


@pytest.mark.parametrize("spec", [
    {"algo": {"name": name}} for name in NAMES] + [
    {"algo": {"name": "maml", "inner_optimizer": {"name": name}}} for name in NAMES] + [
    {"algo": {"name": "maml"}, "family": {"name": name}} for name in NAMES])  # fmt: skip
def test_replaying_a_step_runs_no_code_that_its_file_names(spec):
    ring = RingBuffer()
    ring.add(1, torch.zeros(3))
    tasks = Task(torch.zeros(1, 2), torch.zeros(1, 2))
    ring.save(Path("step.safetensors"), tasks, {"spec": spec})

    result = metabench("replay", "step.safetensors")

    assert result.exit_code == 2, result.output
    assert not was_run()


@pytest.mark.parametrize("trusted", ["evil.py:Evil", "./evil.py:Evil"])
@pytest.mark.parametrize("name", ["evil.py:Evil", "evil@0123456789ab:Evil"])
def test_what_the_user_trusts_is_run(name, trusted):
    result = metabench("report", a_table(spec_of(name)), "--trust", trusted)

    assert result.exit_code == 0, result.output
    assert was_run()
    assert "My own probe has read this." in Path("page.html").read_text()


def test_trusting_one_file_is_trusting_no_other():
    Path("other.py").write_text(EVIL)
    Path("lab").mkdir()
    (Path("lab") / "evil.py").write_text(EVIL + "THE = 'table'")

    metabench("report", a_table(spec_of("evil.py:Evil")), "--trust", "other.py:Evil")
    assert not was_run()
    metabench("report", a_table(spec_of("lab/evil.py:Evil")), "--trust", "evil.py:Evil")

    assert was_run()  # the user's file, not the one that the table names
    assert not (Path("lab") / "marker").exists()


@pytest.mark.parametrize(("named", "instead"), [
    ("evil@0123456789ab:Evil", "names evil.py:Evil"), ("verify", "names listed members only"),
])  # fmt: skip
@pytest.mark.parametrize("trusted", ["evl.py:Evil", "evil.py:Evl", "verify"])
def test_trusting_what_is_not_there_is_refused_not_ignored(trusted, named, instead):
    Path("study.toml").write_text(STUDY.format(name='"verify"'))
    store = Store(a_store(spec_of(named)))
    (digest,) = store.standing()

    for words in (["report", store.folder], ["show", "study.toml", digest], ["cell", digest]):
        result = metabench(*words, "--trust", trusted)

        assert result.exit_code == 2
        said = " ".join(result.output.split())
        assert f"--trust {trusted} has no effect: what is read {instead}." in said
    assert not was_run()


def test_trust_without_a_cell_to_show_is_refused():
    Path("study.toml").write_text(STUDY.format(name='"verify"'))
    a_store(spec_of("evil.py:Evil"))

    result = metabench("show", "study.toml", "--trust", "evil.py:Evil")

    assert result.exit_code == 2
    assert "give the cell's DIGEST" in " ".join(result.output.split())


@pytest.mark.parametrize("command", ["report", "show"])
def test_what_a_study_file_names_is_the_users(command):
    Path("study.toml").write_text(STUDY.format(name='"evil.py:Evil"'))
    store = Store(a_store(spec_of("evil@0123456789ab:Evil")))
    (digest,) = store.standing()

    result = metabench(command, "study.toml", *([digest] if command == "show" else []))

    assert result.exit_code == 0, result.output
    assert was_run()
    said = Path("page.html").read_text() if command == "report" else result.stdout
    assert "My own probe has read this." in said


def test_listed_probes_read_their_tables_as_before():
    table = pd.DataFrame({"probe": ["metabench.probes.verify:Verify"] * 2, "quantity": "check",
                          "of": ["precision", "repeated call"], "value": 0.0})  # fmt: skip
    table.to_csv("table.csv", index=False)

    assert metabench("report", "table.csv").exit_code == 0
    assert "its code is not run" not in Path("page.html").read_text()
