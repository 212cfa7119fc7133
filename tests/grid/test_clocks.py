"""Does a store keep its records where clocks are set back, and where files' times are coarse?"""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest
from shell import metabench

from metabench.records.store import read_in_full
from metabench.records.store.store import Store

STUDY = """
seed = "range(4)"
[probe]
name = "verify"
thorough = false
[algo]
name = "maml"
[family]
name = "quadratic"
dim = 2
"""
GRID = ["grid", "study.toml", "--executor", "inline", "--quiet"]


@pytest.fixture
def store(tmp_path, monkeypatch):
    """A study of which two cells are measured."""
    monkeypatch.chdir(tmp_path)
    Path("study.toml").write_text(STUDY)
    assert metabench("plan", "study.toml", "--measure", "2").exit_code == 0
    return Store(Path("metabench-runs") / "study")


def back(monkeypatch, seconds):
    """Set the clock back: for what reads it, and for the files that are written."""
    clock, replace = time.time, Path.replace

    def replaced(path, target):
        made = replace(path, target)
        at = Path(made).stat()
        os.utime(made, ns=(at.st_atime_ns, at.st_mtime_ns - seconds * 10**9))
        return made

    monkeypatch.setattr(time, "time", lambda: clock() - seconds)
    monkeypatch.setattr(Path, "replace", replaced)


def test_a_clock_that_is_set_back_an_hour_loses_and_repeats_nothing(store, monkeypatch):
    before = {digest: store.path(digest).read_bytes() for digest in store.standing()}
    half = store.folder / "cells" / min(before)[:2] / ".half-written"  # by a process of now
    half.touch()

    back(monkeypatch, 3600)
    result = metabench(*GRID)
    compacted = metabench("compact", "study.toml")
    shown = metabench("show", "study.toml")

    assert "4 done, 0 to go" in result.stdout
    assert {digest: store.path(digest).read_bytes() for digest in before} == before
    assert compacted.exit_code == shown.exit_code == 0
    assert shown.stdout.count(" ok ") == 4
    assert "4 done, 0 to go" in metabench("status", "study.toml", "--check").stdout
    assert half.exists()


def test_where_times_are_rounded_to_two_seconds_a_replaced_record_is_noticed(store, monkeypatch):
    line = read_in_full.line

    def coarse(entry):
        name, size, changed, inode = line(entry).split(" ")
        return f"{name} {size} {int(changed) // (2 * 10**9)} {inode}"

    monkeypatch.setattr(read_in_full, "line", coarse)
    first, second = sorted(store.standing())
    whole = store.path(first).read_text()
    damaged = whole.replace('"value": ', '"value":0', 1)
    assert len(damaged) == len(whole)
    changed = store.path(first).stat().st_mtime_ns

    other = store.path(first).with_suffix(".new")  # another file under the name: another inode
    other.write_text(damaged)
    os.utime(other, ns=(changed, changed))
    other.replace(store.path(first))
    assert store.standing()[first] == "broken"

    store.path(first).write_text(whole)
    os.utime(store.path(first), ns=(changed, changed))
    store.standing()
    store.path(first).write_text(damaged)  # in place, of the same size, in the same two seconds
    os.utime(store.path(first), ns=(changed, changed))
    assert store.standing() == {first: "done", second: "done"}
    assert metabench("show", "study.toml").exit_code == 3  # found where the numbers are read
    assert "1 damaged" in metabench("status", "study.toml", "--check").stdout
    assert "4 done, 0 to go" in metabench(*GRID).stdout
