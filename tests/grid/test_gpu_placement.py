"""Are GPU cells placed where there is memory for them? With GPUs in name only."""

from __future__ import annotations

from concurrent.futures import Future
from pathlib import Path
from typing import ClassVar

import pytest

from metabench.grid.execution.executors import pool, slots
from metabench.grid.execution.executors.pool import Pool
from metabench.grid.execution.executors.queue import Queue
from metabench.grid.execution.executors.slots import MASK, Slot
from metabench.grid.execution.run_cell import Job, Outcome
from metabench.grid.scheduling.memory_forecast import MemoryForecast
from metabench.records.record import compose
from metabench.records.store.store import Store

GIB = 2.0**30


def job(name, need=0.0, device="cuda"):
    return Job(Store(Path()), name, {"device": device}, {"seed": name}, need=need * GIB)


def gpu(name, size):
    return Slot("cuda", {MASK: name}, size * GIB)


def queue(*jobs, rooms, stopped=lambda: False):
    return Queue(iter(jobs), rooms, stopped)


def test_a_cell_waits_until_its_gpu_has_room():
    room = gpu("0", 80)
    waiting = queue(job("a", 50), job("b", 50), job("c", 20), rooms=[room, room])

    first = waiting.take(room, [])
    second = waiting.take(room, [first])

    assert (first.digest, second.digest) == ("a", "c")  # b has no room beside a
    assert waiting.take(room, [first, second]) is None
    assert waiting.take(room, [second]).digest == "b"


def test_a_large_cell_waits_for_the_large_gpu():
    small, large = gpu("0", 24), gpu("1", 80)
    waiting = queue(job("big", 40), job("little", 10), rooms=[small, large])

    assert waiting.take(small, []).digest == "little"
    assert waiting.take(large, []).digest == "big"


def test_what_fits_nowhere_goes_to_the_largest_alone_and_never_waits_for_ever():
    small, large = gpu("0", 24), gpu("1", 80)
    waiting = queue(job("huge", 100), rooms=[small, large])

    assert waiting.take(small, []) is None
    assert waiting.take(large, [job("other", 1)]) is None
    assert waiting.take(large, []).digest == "huge"


def test_a_cell_whose_need_is_not_known_is_placed_at_once():
    room = gpu("0", 24)

    assert queue(job("new"), rooms=[room]).take(room, [job("a", 20)]).digest == "new"


def test_what_waits_aside_is_dropped_when_the_grid_is_stopped():
    asked = []
    cpu, cuda = Slot("cpu"), gpu("0", 24)
    waiting = queue(job("g"), job("c", device="cpu"), rooms=[cpu, cuda], stopped=lambda: asked)
    assert waiting.take(cpu, []).digest == "c"  # g waits now

    asked.append("stop")

    assert waiting.take(cuda, []) is None


def test_needs_are_those_of_cells_that_differ_in_their_seed_alone(tmp_path):
    store = Store(tmp_path).open()
    digests = []
    for seed, peak in enumerate((3.0, 5.0)):
        spec = {"algo": {"name": "maml"}, "seed": seed}
        record = compose(spec, [], None, {}, {"peak_bytes": peak})
        store.save(record, failed=False)
        digests.append(record["digest"])
    needs = MemoryForecast.on_record(store, [*digests, "2"])

    assert needs.expected_bytes({"algo": {"name": "maml"}, "seed": 7}) == pytest.approx(5)
    assert not needs.expected_bytes({"algo": "fomaml", "seed": 0})
    needs.learn({"algo": "fomaml", "seed": 0}, Outcome("x", "ok", 1.0, peak_bytes=9.0))
    assert needs.expected_bytes({"algo": "fomaml", "seed": 1}) == pytest.approx(9)


class Fake:
    """A worker that notes what its device holds when it is given a job."""

    now: ClassVar[dict[str, tuple[str, float]]] = {}
    held: ClassVar[dict[str, float]] = {}

    def __init__(self, slot):
        self.slot = slot

    def take(self, job):
        place = self.slot.environment[MASK]
        Fake.now[job.digest] = place, job.need
        Fake.held[job.digest] = sum(need for where, need in Fake.now.values() if where == place)
        future = Future()
        future.set_result(None)
        return future

    def outcome_of(self, future, job):
        del Fake.now[job.digest]
        return Outcome(job.digest, "ok", 1.0)

    def stop(self):
        pass


def test_the_pool_never_holds_more_than_a_gpu_has(monkeypatch):
    monkeypatch.setattr(pool, "_Worker", Fake)
    rooms = (gpu("0", 80), gpu("0", 80), gpu("0", 80), gpu("1", 24))
    needs = {f"{i}": need for i, need in enumerate((50, 50, 20, 20, 20, 70, 100, 10, 1, 1))}

    ended = [outcome.digest for outcome in Pool(rooms).run(job(n, g) for n, g in needs.items())]

    assert sorted(ended) == sorted(needs)
    assert Fake.held.pop("6") == pytest.approx(100 * GIB)  # fits nowhere: alone
    assert 50 * GIB < max(Fake.held.values()) <= 80 * GIB


def test_the_second_try_after_out_of_memory_is_alone_on_the_largest():
    cpu = Slot("cpu")
    rooms = (gpu("0", 24), cpu, gpu("1", 80), gpu("1", 80), gpu("2", 24), cpu)

    alone = Pool(rooms).alone()

    assert sorted(slot.place for slot in alone.slots) == [("cpu", ""), ("cuda", "1")]


def test_the_driver_says_how_much_memory_a_gpu_has(tmp_path, monkeypatch):
    tool = tmp_path / "nvidia-smi"
    tool.write_text("#!/bin/sh\necho '0, GPU-aa, 81559'\necho '1, GPU-bb, [N/A]'\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    monkeypatch.setattr(slots, "visible_gpus", lambda: ["GPU-aa", "1"])

    found = slots.gpu_slots(per_gpu=2, threads=1)

    assert [slot.bytes for slot in found] == [81559 * 2.0**20, float("inf")] * 2
    assert slots.memory_of_gpus()["0"] == 81559 * 2**20


def test_without_a_driver_nothing_is_known(monkeypatch):
    monkeypatch.setenv("PATH", "")

    assert slots.memory_of_gpus() == {}
