"""Is a cell measured in parts the same as one measured whole, whatever is killed?"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from metabench.cli.main import main
from metabench.grid.execution import part_arrays
from metabench.probes.base import Part
from metabench.records.store.store import Store
from metabench.records.store.tables import tables

STUDY = """
{top}
[probe]
name = "variance"
tasks = 64
sizes = [1, 2]
redrawn_tasks = 16
shot_multiples = 0
[algo]
name = "maml"
[compute]
chunk = 8
engine = "eager"
[family]
name = "quadratic"
dim = 3
"""


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("cut.toml").write_text(STUDY.format(top="split = 3"))
    Path("whole.toml").write_text(STUDY.format(top=""))


def metabench(*args, code=0):
    result = CliRunner().invoke(main, [str(arg) for arg in args], catch_exceptions=False)
    assert result.exit_code == code, result.output
    return result.stdout


def store(name):
    return Store(Path("metabench-runs") / name)


def measured(name):
    """The numbers of the one cell, except times."""
    (digest,) = store(name).standing()
    record = store(name).read(digest)
    return digest, [row for row in record["rows"] if "seconds" not in row["quantity"]]


def is_the_whole():
    """The split cell has the digest and numbers of the other; give its record."""
    assert measured("cut") == measured("whole")
    digest, _ = measured("cut")
    record = store("cut").read(digest)
    assert record["split"] == 3
    assert record["peak_bytes"] > 0
    assert not (store("cut").folder / "parts" / digest).exists()
    return record


def test_a_split_cell_has_the_digest_and_numbers_of_the_whole():
    metabench("grid", "whole.toml", "--executor", "inline")

    said = metabench("grid", "cut.toml", "--executor", "inline")

    assert "cells  1 done, 0 to go" in said
    is_the_whole()


def test_workers_on_several_machines_measure_one_cell():
    metabench("grid", "whole.toml", "--executor", "inline")

    said = [metabench("worker", "cut.toml", "--part", f"{i}/2", "--executor", "inline", "--json")
            for i in range(2)]  # fmt: skip

    assert [json.loads(each)["done"] for each in said] == [0, 1]
    assert measured("cut") == measured("whole")


def test_what_was_measured_of_a_cell_is_kept_and_the_rest_is_measured():
    metabench("worker", "cut.toml", "--part", "0/2", "--executor", "inline")
    before = {path: path.stat().st_mtime_ns for path in store("cut").folder.rglob("*.npz")}
    assert sorted(path.name for path in before) == ["0-of-3.npz", "2-of-3.npz"]
    assert "parts 2 of 3 measured" in metabench("status", "cut.toml")
    spoilt = min(before)
    spoilt.write_bytes(spoilt.read_bytes()[:-40])  # half a file is none

    taken = []
    save = part_arrays.save
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(part_arrays, "save", lambda *a: (taken.append(str(a[2])), save(*a)))
        metabench("grid", "cut.toml", "--executor", "inline")

    assert len(taken) == 2
    assert "1 done, 0 to go" in metabench("status", "cut.toml").replace("cells  1: ", "")


def test_a_part_that_fails_fails_its_cell_which_names_the_part(monkeypatch):
    metabench("worker", "cut.toml", "--part", "0/2", "--executor", "inline")

    def broken(*_):
        raise MemoryError

    with monkeypatch.context() as patch:
        patch.setattr("metabench.probes.variance.Variance.measure_part", broken)
        said = metabench("grid", "cut.toml", "--executor", "inline", code=3)

    assert "part 1/3: MemoryError" in said
    ((digest, state),) = store("cut").standing().items()
    assert state == "failed"
    tries = [attempt["outcome"] for attempt in store("cut").read(digest)["attempts"]]
    assert tries == ["oom", "oom"]
    metabench("grid", "cut.toml", "--executor", "inline", "--retry")
    assert store("cut").standing() == {digest: "done"}


def test_workers_of_a_pool_measure_one_cell_and_a_killed_one_loses_only_its_part():
    Path("fatal.py").write_text("""
import os, signal
from dataclasses import dataclass
from pathlib import Path
from metabench import Variance

@dataclass(frozen=True)
class Fatal(Variance):
    def measure_part(self, subject, seed, part):
        if part.number == 1 and not (mark := Path("died")).exists():
            mark.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return super().measure_part(subject, seed, part)
""")
    for name in ("whole", "cut"):
        text = Path(f"{name}.toml").read_text()
        Path(f"{name}.toml").write_text(text.replace('"variance"', '"fatal.py:Fatal"'))
    metabench("grid", "whole.toml", "--executor", "inline")

    said = metabench("grid", "cut.toml", "--workers", "2")

    assert "cells  1 done, 0 to go" in said
    (attempt, last) = is_the_whole()["attempts"]
    assert (attempt["outcome"], last["outcome"]) == ("killed", "ok")
    assert "part 1/3: Its process was killed" in attempt["error"]


def test_forgetting_a_cell_forgets_its_parts():
    metabench("worker", "cut.toml", "--part", "0/2", "--executor", "inline")
    (digest,) = [path.name for path in (store("cut").folder / "parts").iterdir()]

    store("cut").remove(digest)

    assert not list((store("cut").folder / "parts").iterdir())


def test_a_study_that_cannot_be_split_is_refused():
    text = STUDY.format(top="split = 2").replace('"variance"\ntasks = 64', '"verify"')
    text = text.replace("sizes = [1, 2]\nredrawn_tasks = 16\nshot_multiples = 0\n", "")
    Path("cut.toml").write_text(text)

    result = CliRunner().invoke(main, ["plan", "cut.toml"])

    assert result.exit_code == 2
    assert "line 2, split: No probe of this study can be split" in result.stderr


def test_arrays_are_kept_whole_with_their_cost(tmp_path):
    kept = Store(tmp_path / "store").open()
    for i in range(2):
        arrays = {"1": np.full((2, 3), i)}
        part_arrays.save(kept, "abc", Part(i, 2), arrays, part_arrays.PartCost(1.5, 10.0 * i))

    found, cost = part_arrays.read(kept, "abc", 2)

    assert [int(each["1"].sum()) for each in found] == [0, 6]
    assert cost == (3.0, 10.0)
    assert part_arrays.missing(kept, "abc", 2) == []
    assert len(part_arrays.missing(kept, "abc", 4)) == 4
    assert len(tables(kept).cells) == 0


@pytest.mark.parametrize("damage", [
    lambda whole: whole[:-60] + bytes(60),
    lambda whole: whole[:200] + bytes(100) + whole[300:],
    lambda whole: whole[:200] + bytes([whole[200] ^ 1]) + whole[201:]])  # fmt: skip
def test_a_damaged_part_is_set_aside_and_measured_again(monkeypatch, damage):
    metabench("grid", "whole.toml", "--executor", "inline")
    with monkeypatch.context() as never:  # all parts are measured, but not merged yet
        never.setattr("metabench.grid.scheduling.scheduler.to_merge", lambda *_: [])
        metabench("grid", "cut.toml", "--executor", "inline")
    part = min(store("cut").folder.glob("parts/*/*.npz"))
    part.write_bytes(damage(part.read_bytes()))

    for attempt in range(2):  # the first may find the damage when it merges
        result = CliRunner().invoke(main, ["grid", "cut.toml", "--executor", "inline"])
        if attempt == 0 and result.exit_code == 3:
            assert "1 of its 3 parts are damaged or gone" in result.stdout
            assert len(list(store("cut").aside.glob("*/*.npz"))) == 1

    assert result.exit_code == 0, result.output
    is_the_whole()
