"""Is a record whole or not there, whatever happens while it is written?"""

from __future__ import annotations

import errno
import json
import os

import pytest

from metabench.records import record_files
from metabench.records.store.store import SCHEMA, Store
from metabench.settings.errors import Misuse

DIGEST = "0123456789ab"


def record(status="ok", digest=DIGEST, **more):
    return {"schema": SCHEMA, "digest": digest, "status": status, "attempts": [], **more}


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "store").open()


def test_what_is_done_is_read_off_the_names(store):
    store.save(record(), failed=False)
    store.save(record("oom", digest="ffff"), failed=True)

    assert store.standing() == {DIGEST: "done", "ffff": "failed"}
    assert store.is_done(DIGEST)
    assert not store.is_done("ffff")


def test_a_result_takes_the_place_of_a_failure_and_never_the_other_way(store):
    store.save(record("error"), failed=True)
    store.save(record("ok"), failed=False)
    store.save(record("killed"), failed=True)

    assert store.read(DIGEST)["status"] == "ok"
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


def test_half_a_file_is_found_said_and_replaced(store):
    store.save(record(), failed=False)
    whole = store.path(DIGEST).read_text()
    store.path(DIGEST).write_text(whole[: len(whole) // 2])

    assert store.standing() == {DIGEST: "broken"}
    assert not store.is_done(DIGEST)
    with pytest.raises(Misuse, match=r"half-written .* Everything else is intact"):
        store.read(DIGEST)
    store.save(record(), failed=False)
    assert store.read(DIGEST)["status"] == "ok"


def test_a_newer_schema_is_left_alone_with_a_sentence(store):
    mark = store.folder / "store.json"
    mark.write_text(json.dumps({"schema": SCHEMA + 1}))

    for attempt in (store.open, store.require_readable):
        with pytest.raises(Misuse, match=r"newer metabench .* Nothing was changed"):
            attempt()

    assert json.loads(mark.read_text()) == {"schema": SCHEMA + 1}


def test_unknown_keys_are_ignored(store):
    store.save(record(from_the_future=1), failed=False)

    assert store.read(DIGEST)["status"] == "ok"


@pytest.mark.parametrize("code", [errno.EROFS, errno.EACCES])
def test_a_store_that_can_not_be_written_is_refused_at_once(tmp_path, monkeypatch, code):
    def refused(*_, **__):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(record_files.tempfile, "NamedTemporaryFile", refused)

    with pytest.raises(Misuse, match=r"can't be written .*; give another path"):
        Store(tmp_path).open()


def test_a_file_in_the_way_of_the_store_is_said(tmp_path):
    (tmp_path / "store").write_text("")

    with pytest.raises(Misuse, match=r"which can't be made here .* give --store FOLDER"):
        Store(tmp_path / "store").open()


def test_the_environment_is_written_once(store):
    first, again = (store.keep_environment({"torch": "2.13"}) for _ in range(2))
    other = store.keep_environment({"torch": "2.14"})

    assert first == again != other
    assert len(list((store.folder / "environments").iterdir())) == 2
