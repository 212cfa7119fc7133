"""Is a record whole or not there, whatever happens while it is written, or to it later?"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import time
from pathlib import Path

import pytest

from metabench.records import run_folders
from metabench.records.record import SCHEMA, checksum, compose
from metabench.records.rows import Row
from metabench.records.store import read_in_full
from metabench.records.store.environments import environments_in, keep_environment
from metabench.records.store.parquet_snapshot import write_snapshot
from metabench.records.store.store import Store
from metabench.records.store.tables import tables
from metabench.settings.errors import InvalidInput

CELL = {"outcome": "ok", "seconds": 1.0, "error": "", "attempts": []}


def record(outcome="ok", seed=0, **more):
    rows = [Row("slope", value=-1.0 - seed)] if outcome == "ok" else []
    return compose({"seed": seed}, rows, None, {}, {**CELL, "outcome": outcome, **more})


DIGEST, OTHER = (record(seed=seed)["digest"] for seed in (0, 1))


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "store").open()


@pytest.fixture
def two(store):
    for seed in (0, 1):
        store.save(record(seed=seed), failed=False)
    return store


def zeroed(path):
    """Overwrite 500 bytes in the middle, as a bad disk does, and keep the file's times."""
    whole, at = path.read_bytes(), path.stat()
    middle = len(whole) // 2
    path.write_bytes(whole[: middle - 250] + b"\x00" * 500 + whole[middle + 250 :])
    os.utime(path, ns=(at.st_atime_ns, at.st_mtime_ns + 1))


def copied_over(path):
    other = next(p for p in path.parents[1].glob("*/*.json") if p != path)
    shutil.copy(other, path)


def lacking(path):
    rest = {key: value for key, value in json.loads(path.read_text()).items() if key != "rows"}
    path.write_text(json.dumps({**rest, "checksum": checksum(rest)}) + "\n")


def rewritten(path, **changed):
    """As a program would write it that knows checksums."""
    whole = {**json.loads(path.read_text()), **changed}
    path.write_text(json.dumps({**whole, "checksum": checksum(whole)}) + "\n")


def beyond_floats(path):
    (row, *rest) = json.loads(path.read_text())["rows"]
    rewritten(path, rows=[{**row, "value": 10**400}, *rest])


def of_schema_1(path):
    old = {"schema": 1, "digest": path.stem, "status": "ok", "spec": {}, "rows": []}
    path.write_text(json.dumps(old) + "\n")


def replaced(path, by):
    path.unlink()
    by(path)


DAMAGE = {
    "zeroed bytes": (zeroed, "is not a record"),
    "another cell's record": (copied_over, "is the record of another cell"),
    "an empty object": (lambda path: path.write_text("{}\n"), "is not a record"),
    "an empty file": (lambda path: path.write_text(""), "is not a record"),
    "half a file": (lambda path: path.write_text(path.read_text()[:200]), "or an incomplete one"),
    "a missing key": (lacking, "it lacks 'rows'"),
    "a changed digit": (
        lambda path: path.write_text(path.read_text().replace("-1.0", "-1.5")),
        "its checksum differs",
    ),
    "another spec": (lambda path: rewritten(path, spec={"seed": 9}), "is not that of its spec"),
    "a number beyond floats": (beyond_floats, "is not a record"),
    "schema 1": (of_schema_1, r"was written by metabench 0\.1; measure again"),
    "a pipe": (lambda path: replaced(path, os.mkfifo), "not an ordinary file"),
    "a folder": (lambda path: replaced(path, os.mkdir), "not an ordinary file"),
    "a dead link": (lambda path: replaced(path, lambda p: p.symlink_to("nowhere")), "link to"),
}


def test_what_is_done_is_read_off_the_names(store):
    store.save(record(), failed=False)
    store.save(record("oom", seed=1), failed=True)

    assert store.standing() == {DIGEST: "done", OTHER: "failed"}
    assert store.is_done(DIGEST)
    assert not store.is_done(OTHER)


def test_a_result_takes_the_place_of_a_failure_and_never_the_other_way(store):
    store.save(record("error"), failed=True)
    store.save(record("ok"), failed=False)
    store.save(record("killed"), failed=True)

    assert store.read(DIGEST)["outcome"] == "ok"
    assert store.standing() == {DIGEST: "done"}


def test_a_result_is_immutable(store):
    store.save(record(seconds=1), failed=False)
    store.save(record(seconds=2), failed=False)

    assert store.read(DIGEST)["seconds"] == 1


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_a_write_that_stops_halfway_leaves_no_record(store, monkeypatch, step):
    def killed(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, step, killed)
    with pytest.raises(KeyboardInterrupt):
        store.save(record(), failed=False)

    assert store.standing() == {}


def test_what_a_killed_writer_left_is_no_record_and_is_swept_when_old(store):
    place = store.path(DIGEST).parent
    place.mkdir(parents=True)
    left = place / f".{DIGEST}.json-abc"
    left.write_text("{")
    assert store.standing() == {}
    store.open()
    assert left.exists()  # it may be in use

    os.utime(left, (0, 0))
    store.open()

    assert not left.exists()


@pytest.mark.parametrize("damage", DAMAGE)
@pytest.mark.parametrize("seen", [False, True], ids=["unseen", "read before"])
def test_damage_is_found_named_set_aside_and_replaced(two, damage, seen):
    harm, said = DAMAGE[damage]
    if seen:
        assert two.standing() == {DIGEST: "done", OTHER: "done"}
    path = two.path(DIGEST)
    harm(path)

    assert two.standing() == {DIGEST: "broken", OTHER: "done"}
    assert not two.is_done(DIGEST)
    with pytest.raises(InvalidInput, match=said):
        two.read(DIGEST)
    found = tables(two)
    assert list(found.cells["digest"]) == [OTHER]
    (sentence,) = found.broken
    assert str(path) in sentence
    assert list(two.broken([DIGEST, OTHER])) == [sentence]

    (moved,) = two.set_aside([DIGEST, OTHER])

    assert moved.startswith(sentence)
    (kept,) = two.aside.glob("*/*")
    assert str(kept) in moved
    assert two.standing() == {OTHER: "done"}
    two.save(record(), failed=False)
    assert two.read(DIGEST)["outcome"] == "ok"


def test_saving_over_damage_deletes_nothing(two):
    zeroed(two.path(DIGEST))
    harmed = two.path(DIGEST).read_bytes()

    two.save(record(), failed=False)

    (kept,) = two.aside.glob("*/*.json")
    assert kept.read_bytes() == harmed
    assert two.standing() == {DIGEST: "done", OTHER: "done"}


def test_a_failure_beside_a_result_does_not_count_even_if_broken(two):
    two.path(DIGEST, failed=True).write_text("{")

    assert two.standing() == {DIGEST: "done", OTHER: "done"}


def test_only_what_changed_is_read_again(two, monkeypatch):
    read = []
    whole = Store._read
    monkeypatch.setattr(Store, "_read", lambda self, path: read.append(path) or whole(self, path))
    two.standing()
    assert len(read) == 2
    two.standing()
    assert len(read) == 2

    os.utime(two.path(DIGEST))
    two.standing()

    assert read[2:] == [two.path(DIGEST)]


@pytest.mark.parametrize("harm", [os.unlink, zeroed, lambda p: replaced(p, os.mkfifo)])
def test_a_list_that_is_lost_or_damaged_costs_another_look(two, harm):
    two.standing()
    harm(two.folder / read_in_full.NAME)

    assert two.standing() == {DIGEST: "done", OTHER: "done"}
    assert len(read_in_full.load(two.folder)) == 2


def test_a_list_that_can_not_be_kept_stops_nobody(two, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(run_folders, "write", full)

    assert two.standing() == {DIGEST: "done", OTHER: "done"}


def test_a_hundred_thousand_cells_resume_within_about_a_second_of_processor_time(tmp_path):
    """Ten thousand within a tenth of that, doubled for a busy machine; no record is opened."""
    cells = tmp_path / "cells"
    for i in range(10_000):
        digest = f"{i * 2654435761 % 2**48:012x}"
        place = cells / digest[:2]
        place.mkdir(parents=True, exist_ok=True)
        (place / f"{digest}.json").touch()
    rooms = [entry for room in os.scandir(cells) for entry in os.scandir(room.path)]
    read_in_full.save(tmp_path, [read_in_full.line(entry) for entry in rooms])

    taken = []
    for _ in range(3):
        begun = time.process_time()
        standing = Store(tmp_path).standing()
        taken.append(time.process_time() - begun)

    assert set(standing.values()) == {"done"}
    assert len(standing) == 10_000
    assert min(taken) < 0.2


@pytest.mark.parametrize(
    "harm",
    [
        os.unlink,
        zeroed,
        lambda p: p.write_text("[" * 100_000),
        lambda p: replaced(p, os.mkfifo),
        lambda p: replaced(p, lambda q: q.symlink_to("nowhere")),
    ],
)
def test_the_mark_of_a_store_is_made_again(two, harm):
    mark = two.folder / "store.json"
    harm(mark)

    assert two.is_there()
    assert len(tables(two).cells) == 2
    two.open()

    assert json.loads(mark.read_text()) == {"schema": SCHEMA}


@pytest.mark.parametrize("name", ["snapshot.json", "cells.parquet", "rows.parquet"])
@pytest.mark.parametrize("harm", [os.unlink, zeroed, lambda p: replaced(p, os.mkfifo),
                                  lambda p: p.write_text("[" * 100_000),
                                  lambda p: p.write_text('{"folder": "gone"}')])  # fmt: skip
def test_a_snapshot_that_is_lost_or_damaged_is_none(two, name, harm):
    pytest.importorskip("pyarrow")
    before = tables(two)
    write_snapshot(two.folder, before.cells, before.rows)
    (path,) = two.folder.rglob(name)
    harm(path)

    found = tables(two)

    assert list(found.cells["digest"]) == sorted([DIGEST, OTHER])
    assert list(found.rows["value"]) == list(before.rows["value"])
    write_snapshot(two.folder, found.cells, found.rows)
    assert len(tables(two).cells) == 2


@pytest.mark.parametrize("value", [None, [[1]], [{"a": 1}]])
def test_a_snapshot_that_lacks_a_column_or_has_one_of_lists_is_none(two, value):
    """Its digests are right: a program wrote it."""
    pytest.importorskip("pyarrow")
    before = tables(two)
    odd = before.rows.drop(columns="value")
    if value is not None:
        odd["value"] = value * len(odd)
    write_snapshot(two.folder, before.cells, odd.astype(object) if value is None else before.rows)
    if value is not None:
        (path,) = two.folder.rglob("rows.parquet")
        odd.to_parquet(path)
        pointer = json.loads((two.folder / "snapshot.json").read_text())
        pointer["sha256"][1] = hashlib.sha256(path.read_bytes()).hexdigest()
        (two.folder / "snapshot.json").write_text(json.dumps(pointer))

    assert list(tables(two).rows["value"]) == list(before.rows["value"])


@pytest.mark.parametrize("make", [os.mkfifo, lambda p: p.write_text("x"),
                                  lambda p: p.symlink_to("nowhere")])  # fmt: skip
def test_a_name_that_is_taken_stops_nothing_from_being_set_aside(two, make):
    make(two.aside)
    zeroed(two.path(DIGEST))

    (said,) = two.set_aside([DIGEST])

    kept = Path(said.rpartition(" as ")[2].removesuffix("."))
    assert kept.is_file()
    assert two.standing() == {OTHER: "done"}


def test_a_snapshot_tells_nothing_of_a_record_that_was_damaged_since(two):
    pytest.importorskip("pyarrow")
    before = tables(two)
    write_snapshot(two.folder, before.cells, before.rows)
    zeroed(two.path(DIGEST))

    found = tables(two)

    assert list(found.cells["digest"]) == [OTHER]
    assert len(found.broken) == 1


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir, lambda p: p.symlink_to("nowhere")])
def test_what_has_no_business_in_a_store_stops_nothing(two, make):
    for name in ("cells/zz", f"cells/{DIGEST[:2]}/.{DIGEST}.json-abc", "environments",
                 "cells/other.json", "parts", "read_in_full.txt"):  # fmt: skip
        make(two.folder / name)

    two.open()

    assert two.standing() == {DIGEST: "done", OTHER: "done"}
    assert len(tables(two).cells) == 2
    name = keep_environment(two, {"torch": "2.13"})
    assert environments_in(two.folder) == {name: {"torch": "2.13"}}


def test_a_pipe_for_a_room_of_cells_is_set_aside(store):
    (store.folder / "cells").mkdir()
    os.mkfifo(store.path(DIGEST).parent)
    assert store.read(DIGEST) is None

    store.save(record(), failed=False)

    assert store.standing() == {DIGEST: "done"}


def test_a_newer_schema_is_left_alone_with_a_sentence(store):
    mark = store.folder / "store.json"
    mark.write_text(json.dumps({"schema": SCHEMA + 1}))

    for attempt in (store.open, store.require_readable):
        with pytest.raises(InvalidInput, match=r"newer metabench .* Nothing was changed"):
            attempt()

    assert json.loads(mark.read_text()) == {"schema": SCHEMA + 1}


def test_a_store_of_schema_1_is_taken_over(store):
    (store.folder / "store.json").write_text('{"schema": 1}\n')

    assert json.loads((store.open().folder / "store.json").read_text()) == {"schema": SCHEMA}


@pytest.mark.parametrize("code", [errno.EROFS, errno.EACCES])
def test_a_store_that_can_not_be_written_is_refused_at_once(tmp_path, monkeypatch, code):
    def refused(*_, **__):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(run_folders.tempfile, "NamedTemporaryFile", refused)

    with pytest.raises(InvalidInput, match=r"can't be written .*; give another path"):
        Store(tmp_path).open()


def test_a_file_in_the_way_of_the_store_is_said(tmp_path):
    (tmp_path / "store").write_text("")

    with pytest.raises(InvalidInput, match=r"which can't be created .* give --store FOLDER"):
        Store(tmp_path / "store").open()


def test_the_environment_is_written_once_and_again_if_it_was_damaged(store):
    first, again = (keep_environment(store, {"torch": "2.13"}) for _ in range(2))
    other = keep_environment(store, {"torch": "2.14"})

    assert first == again != other
    assert len(list((store.folder / "environments").iterdir())) == 2
    place = store.folder / "environments" / f"{first}.json"
    place.write_text("{}")
    assert environments_in(store.folder) == {other: {"torch": "2.14"}}
    keep_environment(store, {"torch": "2.13"})
    assert environments_in(store.folder).keys() == {first, other}
