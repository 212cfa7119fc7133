"""The accelerator script: parts are resumed, cut off and recorded, and it runs on a CPU too."""

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from reports.accelerator.stages import Part, Results, Setting, run  # ruff: ignore[module-import-not-at-top-of-file]

SCRIPT = ROOT / "reports" / "accelerator" / "run.py"
SETTING = Setting("cpu", "tiny")


def raises(setting):
    raise ValueError("no such kernel")


def within(setting):
    return [{"quantity": "error", "value": 1e-9, "limit": 1e-8}]


def beyond(setting):
    return [{"quantity": "error", "value": float("nan"), "limit": 1e-8}]


def run_all(path, parts, budget=60.0, **more):
    results = Results(path, {"device": "none"})
    left = run(parts, SETTING, results, budget, say=lambda line: None, **more)
    return left, {name: part["status"] for name, part in results.parts.items()}


def test_a_part_that_raises_or_exceeds_its_limit_is_recorded_and_the_next_one_runs(tmp_path):
    parts = [Part("a", raises), Part("b", beyond), Part("c", within)]

    left, statuses = run_all(tmp_path / "stage.json", parts)

    assert left == []
    assert statuses == {"a": "failed", "b": "not held", "c": "held"}
    assert (
        "no such kernel" in json.loads((tmp_path / "stage.json").read_text())["parts"]["a"]["error"]
    )


def test_the_next_call_goes_on_with_what_is_left_and_measures_nothing_twice(tmp_path):
    calls = []
    parts = [Part(name, lambda setting, name=name: calls.append(name) or []) for name in "abc"]
    run_all(tmp_path / "stage.json", parts[:2])

    left, statuses = run_all(tmp_path / "stage.json", parts)

    assert (calls, left, set(statuses)) == (["a", "b", "c"], [], {"a", "b", "c"})


def test_a_part_that_the_budget_cuts_off_comes_last_in_the_next_call(tmp_path):
    order = []

    def slow(setting):
        order.append("slow")
        time.sleep(60)
        return []

    def quick(setting):
        order.append("quick")
        return []

    parts = [Part("slow", slow), Part("quick", quick)]
    left, statuses = run_all(tmp_path / "stage.json", parts, budget=2.2)
    assert statuses == {"slow": "out of time"}
    assert [part.name for part in left] == ["quick", "slow"]

    run_all(tmp_path / "stage.json", parts, budget=2.2)

    assert order[:2] == ["slow", "quick"]


def call(stage, *words, folder):
    words = [str(SCRIPT), "--stage", str(stage), "--device", "cpu", "--size", "tiny", *words]
    done = subprocess.run(
        [sys.executable, *words, "--results", str(folder)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    (path,) = folder.glob(f"*/stage{stage}.json")
    return json.loads(path.read_text())["parts"]


def test_the_first_stage_runs_on_a_cpu(tmp_path):
    parts = call(1, "--only", "^(maml, vmap, eager|solver cg|waits, maml)$", folder=tmp_path)

    assert {part["status"] for name, part in parts.items() if "waits" not in name} == {"held"}
    assert parts["waits, maml"]["status"] == "absent"
    assert [row["of"] for row in parts["solver cg"]["rows"]] == ["float64", "float32"]


@pytest.mark.long
@pytest.mark.parametrize("stage", [1, 2, 3, 4])
def test_every_stage_runs_whole_on_a_cpu(stage, tmp_path):
    parts = call(stage, folder=tmp_path)

    assert {part["status"] for part in parts.values()} <= {"held", "absent"}
