"""Does a grid measure every cell once, keep what it has, and say what it could not?"""

from __future__ import annotations

import errno
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest
from click.testing import CliRunner
from pandas.testing import assert_frame_equal

from metabench.cli.main import main
from metabench.grid.execution.executors import slots
from metabench.records import run_folders
from metabench.records.record import with_checksum
from metabench.records.store.store import Store
from metabench.records.store.tables import tables, tidy

# A probe that fails on request, in every way in which a cell can.
ODD = """
import os, signal, time
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from metabench import Probe, Row


@dataclass(frozen=True)
class Odd(Probe):
    what: str = "ok"
    axis: ClassVar[str] = "B"
    question: ClassVar[str] = "?"
    caption: ClassVar[str] = ""

    def measure(self, subject, seed, progress=None):
        if self.what == "error":
            raise RuntimeError("the odd one")
        if self.what == "oom":
            raise MemoryError
        if self.what == "die":
            os.kill(os.getpid(), signal.SIGKILL)
        if self.what == "die once" and not (mark := Path("died")).exists():
            mark.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        if self.what == "sleep":
            time.sleep(60)
        if self.what == "slow":
            time.sleep(0.3)
        if self.what == "interrupt":
            os.kill(os.getpid(), signal.SIGINT)
        if self.what == "mask":
            return [Row("mask", value=float(os.environ["CUDA_VISIBLE_DEVICES"] or -1))]
        status = "diverged" if self.what == "diverge" else "ok"
        return [Row("number", value=seed + 0.5, status=status)]

    def find(self, table):
        return []

    def draw(self, table, axes):
        pass
"""
STUDY = """
seed = "range({seeds})"
{top}
[probe]
name = "odd.py:Odd"
what = {what}
[algo]
name = "maml"
[family]
name = "quadratic"
"""
SMALL = """
seed = "range(2)"
[probe]
name = "variance"
tasks = 64
sizes = [1, 2]
[algo]
name = ["maml", "fomaml"]
[family]
name = "quadratic"
dim = 3
"""


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "odd.py").write_text(ODD)
    (tmp_path / "small.toml").write_text(SMALL)
    return tmp_path


def write(*what, seeds=1, top="", name="odd"):
    text = STUDY.format(what=json.dumps(what), seeds=seeds, top=top)
    Path(f"{name}.toml").write_text(text)


def metabench(*args, code=0):
    result = CliRunner().invoke(main, [str(arg) for arg in args], catch_exceptions=False)
    assert result.exit_code == code, result.output
    return result


def inline(*args, code=0):
    return metabench("grid", *args, "--executor", "inline", code=code)


def asked(*args, code=0):
    """What a command says with --json, refusing what strict JSON refuses."""
    said = metabench(*args, "--json", code=code).stdout
    return json.loads(said, parse_constant=lambda word: pytest.fail(word))


def store(name="odd"):
    return Store(Path("metabench-runs") / name)


def statuses(name="odd"):
    kept = store(name)
    records = [kept.read(digest) for digest in kept.standing()]
    return {record["settings"]["probe"]["what"]: record["outcome"] for record in records}


def measured_alike(first, second):
    """The tables are equal but for what is measured anew: times, memory, machines."""
    anew = ["seconds", "peak_bytes", "environment", "attempts"]
    one, other = (tidy(tables(kept)).drop(columns=anew) for kept in (first, second))
    one, other = (
        t[~t["quantity"].astype(str).str.contains("seconds")].reset_index(drop=True)
        for t in (one, other)
    )
    assert_frame_equal(one, other, check_exact=True)
    return len(one)


def test_a_grid_measures_every_cell_and_the_next_none():
    assert "cells  4 done, 0 to go" in inline("small.toml").stdout
    before = {path: path.stat().st_mtime_ns for path in store("small").folder.rglob("*.json")}

    assert "cells  4 done, 0 to go" in inline("small.toml").stdout

    assert {p: p.stat().st_mtime_ns for p in store("small").folder.rglob("*.json")} == before


def test_a_cell_of_a_grid_is_the_record_of_the_command_at_the_same_address():
    inline("small.toml")
    command = "variance --family quadratic --set family.dim=3 --tasks 64 --set probe.sizes=1,2"
    alone = asked(*command.split())

    record = store("small").read(alone["digest"])
    assert record["spec"] == alone["spec"]
    assert record["settled"] == alone["settled"]
    assert record["spec"]["compute"]["batching"] == "auto"
    assert record["settled"]["compute"]["batching"] == "vmap"
    rows = [[r for r in x["rows"] if "seconds" not in r["quantity"]] for x in (record, alone)]
    assert rows[0] == rows[1]


def test_what_is_new_in_a_study_alone_is_measured():
    inline("small.toml")
    Path("small.toml").write_text(SMALL.replace("range(2)", "range(3)"))

    said = asked("grid", "small.toml", "--executor", "inline")

    assert (said["done"], said["open"], said["failed"]) == (6, 0, [])


def test_failures_are_records_and_exit_with_3():
    write("ok", "diverge", "error", "oom")

    said = inline("odd.toml", code=3).stdout

    assert statuses() == {"ok": "ok", "diverge": "diverged", "error": "error", "oom": "oom"}
    assert "2 done, 0 to go, 2 failed" in said
    assert re.search(r"error +InvalidInput: Odd.measure raised RuntimeError", said)
    (broken,) = (
        line for line in asked("status", "odd.toml")["failed"] if line["status"] == "error"
    )
    record = store().read(broken["digest"])
    assert 'raise RuntimeError("the odd one")' in record["traceback"]
    assert len(record["attempts"]) == 1


def test_an_out_of_memory_cell_is_tried_once_more():
    write("oom")

    inline("odd.toml", code=3)

    (digest,) = store().standing()
    assert [a["outcome"] for a in store().read(digest)["attempts"]] == ["oom", "oom"]


def test_a_failure_is_not_tried_again_unless_asked():
    write("ok", "error")
    inline("odd.toml", code=3)

    assert asked("grid", "odd.toml", "--executor", "inline", code=3)["done"] == 1
    (failed,) = asked("grid", "odd.toml", "--executor", "inline", "--retry", code=3)["failed"]

    assert failed["attempts"] == 2


def test_a_failed_cell_is_a_line_of_the_table():
    write("ok", "error")
    inline("odd.toml", code=3)

    metabench("show", "odd.toml", "--csv", "all.csv")

    table = pd.read_csv("all.csv")
    assert list(table[table["outcome"] == "error"]["quantity"]) == ["cell"]
    fine = table[(table["outcome"] == "ok") & (table["quantity"] == "number")]
    assert list(fine["value"]) == [0.5]


def test_ctrl_c_finishes_the_cell_in_hand_and_says_how_to_go_on():
    write("interrupt", seeds=5)

    said = inline("odd.toml", code=130).stdout

    assert "1 done, 4 to go" in said
    assert "Resume with: metabench grid odd.toml" in said
    assert len(store().standing()) == 1


def test_progress_is_quiet_when_piped():
    result = inline("small.toml")

    assert result.stderr == ""
    assert "\x1b" not in result.stdout


def test_a_full_disk_exits_with_4_and_loses_nothing(monkeypatch):
    inline("small.toml")
    Path("small.toml").write_text(SMALL.replace("range(2)", "range(3)"))

    def full(path, text):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(run_folders, "write", full)
    said = inline("small.toml", code=4).stderr

    assert "No space left on device" in said
    assert "Files saved earlier are intact" in said
    assert "Traceback" not in said
    assert len(store("small").standing()) == 4


def test_a_file_cut_short_is_measured_again():
    inline("small.toml")
    digest, *_ = store("small").standing()
    path = store("small").path(digest)
    path.write_text(path.read_text()[:100])

    assert "or an incomplete one" in asked("status", "small.toml", code=3)["failed"][0]["error"]
    assert f"{path} is not a record" in inline("small.toml").stderr

    assert set(store("small").standing().values()) == {"done"}


def test_the_plan_lists_cells_and_forecasts_from_those_measured():
    first = asked("plan", "small.toml")
    after = asked("plan", "small.toml", "--measure", "3")

    assert [cell["state"] for cell in first["cells"]] == ["open"] * 4
    assert first["forecast"] is None
    assert (after["open"], after["forecast"]["cells"]) == (1, 3)
    assert 0 < after["forecast"]["seconds"] < 60
    assert "3 done, 1 to go" in metabench("plan", "small.toml").stdout


def test_shards_share_the_cells_out_without_rest():
    counts = [asked("worker", "small.toml", "--executor", "inline", "--part", f"{i}/3")["done"]
              for i in range(3)]  # fmt: skip

    assert counts == [2, 1, 1]
    assert asked("status", "small.toml")["open"] == 0


@pytest.mark.parametrize("part", ["3/3", "1", "a/b", "-1/3"])
def test_a_part_that_is_none_is_refused(part):
    said = metabench("worker", "small.toml", "--part", part, code=2).stderr

    assert "give i/N with 0 <= i < N, such as 0/64" in said


def test_a_cell_is_measured_again_in_the_foreground():
    write("ok", "error")
    inline("odd.toml", code=3)
    (failed,) = asked("status", "odd.toml")["failed"]
    (fine,) = (d for d, state in store().standing().items() if state == "done")

    own = ("--trust", "odd.py:Odd")
    assert asked("cell", fine[:6], *own)["rows"][0]["quantity"] == "number"
    assert "RuntimeError: the odd one" in metabench("cell", failed["digest"], *own, code=3).stderr


def test_show_gives_the_cells_and_one_cell_in_full():
    inline("small.toml")
    digest, *_ = store("small").standing()

    cells = metabench("show", "small.toml").stdout
    one = metabench("show", "small.toml", digest[:8]).stdout

    assert re.search(r"^cell +status +algo +seed .*total variance", cells)
    assert re.search(r"^B +variance +signal-to-noise", one, re.M)
    assert "Noise equals signal" in one or "not distinguishable from zero" in one


def test_rm_forgets_what_failed():
    write("ok", "error")
    inline("odd.toml", code=3)

    assert "digests of the cells" in metabench("rm", "odd.toml", code=2).stderr.lower()
    assert len(asked("rm", "odd.toml", "--failed")["removed"]) == 1

    assert asked("status", "odd.toml")["open"] == 1


def test_a_snapshot_and_newer_records_are_one_table():
    pytest.importorskip("pyarrow")
    inline("small.toml")
    by_records = tidy(tables(store("small")))
    assert asked("compact", "small.toml")["cells"] == 4
    by_snapshot = tidy(tables(store("small")))
    Path("small.toml").write_text(SMALL.replace("range(2)", "range(3)"))
    inline("small.toml")
    metabench("rm", "small.toml", by_records["digest"][0])

    both = tables(store("small"))

    as_text = dict.fromkeys(by_snapshot.select_dtypes(exclude="number"), str)
    assert_frame_equal(by_snapshot.astype(as_text), by_records.astype(as_text), check_dtype=False)
    assert set(both.cells["digest"]) == set(store("small").standing())
    assert len(both.cells) == 5
    assert set(both.rows["cell"]) == set(range(5))


def twice():
    """Measure one study in two stores, and give both the clock of the first."""
    for name in ("a", "b"):
        inline("small.toml", "--store", name)
    for path in Path("b").glob("cells/*/*.json"):
        record = json.loads(path.read_text())
        clock = json.loads((Path("a") / path.relative_to("b")).read_text())["seconds"]
        path.write_text(json.dumps(with_checksum({**record, "seconds": clock})) + "\n")


def test_equal_stores_compare_as_equal():
    twice()

    same = asked("compare", "a", "b")

    assert (same["pairs"], same["worse"], same["moved"]) == (4, [], [])


def test_a_cell_that_fails_now_is_a_regression():
    write("die once")
    Path("died").touch()
    inline("odd.toml", "--store", "a")
    shutil.copytree("a", "b")
    (digest,) = Store(Path("b")).standing()
    fine = Store(Path("b")).read(digest)
    Store(Path("b")).remove(digest)
    Store(Path("b")).save(with_checksum({**fine, "outcome": "oom", "rows": []}), failed=True)

    assert asked("compare", "a", "b", code=1)["worse"] == [digest]
    assert asked("compare", "b", "a")["worse"] == []


def test_cells_whose_members_have_different_settings_compare_too():
    """An sgd has no betas: in a table of both, its cells have blanks there."""
    text = SMALL.replace(
        'name = ["maml", "fomaml"]', 'name = "maml"\ninner_optimizer = ["sgd", "adam"]'
    )
    Path("small.toml").write_text(text)
    twice()
    assert asked("compare", "a", "b")["pairs"] == 4
    for path in Path("b").glob("cells/*/*.json"):
        record = json.loads(path.read_text())
        if record["spec"]["algo"]["inner_optimizer"]["name"] == "sgd":
            continue
        for row in record["rows"]:
            row["value"] = row["value"] and 1.01 * row["value"]
        path.write_text(json.dumps(with_checksum(record)) + "\n")

    found = asked("compare", "a", "b", code=1)

    assert (found["pairs"], found["only"]) == (4, [0, 0])
    assert all("algo.inner_optimizer=adam" in line["settings"] for line in found["moved"])
    assert {line["cells"] for line in found["moved"]} == {2}


def test_stores_of_different_studies_can_not_be_compared():
    inline("small.toml", "--store", "a")
    write("ok")
    inline("odd.toml", "--store", "b")

    assert "no cell in common" in metabench("compare", "a", "b", code=2).stderr


def test_numbers_that_moved_are_a_regression_without_an_interval_of_two_seeds():
    for name in ("a", "b"):
        inline("small.toml", "--store", name)
    for path in Path("b").glob("cells/*/*.json"):
        record = json.loads(path.read_text())
        for row in record["rows"]:
            row["value"] = row["value"] and 1.01 * row["value"]
        path.write_text(json.dumps(with_checksum(record)) + "\n")

    moved = asked("compare", "a", "b", code=1)

    (variance,) = (
        line
        for line in moved["moved"]
        if line["quantity"] == "task_variance" and "algo=maml" in line["settings"]
    )
    assert variance["cells"] == 2
    assert variance["difference"] > 0
    assert (variance["low"], variance["high"]) == (None, None)


# --- processes: dearer tests, a few seconds each


def test_the_pool_gives_the_table_of_the_foreground():
    inline("small.toml", "--store", "inline")

    metabench("grid", "small.toml", "--store", "pool", "--workers", "2")

    assert measured_alike(Store(Path("inline")), Store(Path("pool"))) > 20


def test_a_cell_that_kills_its_process_or_takes_too_long_harms_no_other():
    write("ok", "die", "die once", "sleep", top="timeout = 12")

    said = metabench("grid", "odd.toml", "--workers", "2", code=3).stdout

    found = {"ok": "ok", "die": "killed", "die once": "ok", "sleep": "timeout"}
    assert statuses() == found
    assert "It took longer than 12 s." in said
    kept = [store().read(digest) for digest in store().standing()]
    tries = {r["settings"]["probe"]["what"]: [a["outcome"] for a in r["attempts"]] for r in kept}
    assert tries["die"] == ["killed", "killed"]
    assert tries["die once"] == ["killed", "ok"]
    assert tries["sleep"] == ["timeout"]


def test_workers_of_gpus_are_masked_before_torch_is_imported(monkeypatch):
    """Here are two GPUs in name only; that nothing imports torch first, a child process tells."""
    imported = "sys, metabench.cli.main, metabench.grid.execution.executors.pool"
    code = f"import {imported}; print('torch' in sys.modules)"
    child = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert child.stdout.strip() == "False"
    write("mask", seeds=6)
    monkeypatch.setattr(slots, "visible_gpus", lambda: ["3", "7"])
    rooms = tuple(
        slots.Slot("cpu", slot.environment) for slot in slots.gpu_slots(per_gpu=1, threads=1)
    )
    monkeypatch.setattr(
        "metabench.grid.execution.executors.choose.cpu_slots", lambda workers, threads: rooms
    )

    metabench("grid", "odd.toml")

    rows = tables(store()).rows
    assert set(rows[rows["quantity"] == "mask"]["value"]) <= {3.0, 7.0}
    assert [room.environment["CUDA_VISIBLE_DEVICES"] for room in rooms] == ["3", "7"]


def test_a_killed_parent_leaves_no_process_and_nothing_half_done(folder):
    Path("small.toml").write_text(SMALL.replace("range(2)", "range(40)"))
    command = [sys.executable, "-m", "metabench", "grid", "small.toml", "--workers", "1"]
    parent = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _until(lambda: len(store("small").standing()) >= 3)
    children = Path(f"/proc/{parent.pid}/task/{parent.pid}/children").read_text().split()

    parent.send_signal(signal.SIGKILL)
    parent.wait()
    _until(lambda: not any(Path(f"/proc/{child}").exists() for child in children))

    kept = store("small")
    assert 3 <= len(kept.standing()) < 80
    assert all(kept.read(digest)["outcome"] == "ok" for digest in kept.standing())


def test_two_parents_on_one_store_do_no_harm():
    write("slow", seeds=8)
    command = [sys.executable, "-m", "metabench", "grid", "odd.toml", "--store", "shared"]
    with subprocess.Popen([*command, "--executor", "inline", "--quiet"]) as other:
        _until(lambda: len(Store(Path("shared")).standing()) >= 1)
        assert len(Store(Path("shared")).standing()) < 8
        inline("odd.toml", "--store", "shared")

    assert other.returncode == 0
    inline("odd.toml", "--store", "alone")
    assert measured_alike(Store(Path("alone")), Store(Path("shared"))) > 20


def _until(true, seconds=240):
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it took too long"
        time.sleep(0.05)


def test_a_study_for_gpus_is_refused_where_there_are_none(monkeypatch):
    monkeypatch.setattr(slots, "visible_gpus", list)
    Path("small.toml").write_text('device = "cuda"\n' + SMALL)

    said = metabench("grid", "small.toml", code=2).stderr

    assert "requires cuda, but torch finds no GPU" in said


def test_an_unknown_engine_names_the_nearest():
    said = metabench("grid", "small.toml", "--executor", "pol", code=2).stderr

    assert "There is no executor 'pol'; did you mean 'pool'?" in said
