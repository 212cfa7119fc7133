"""Run a study's open cells on an engine: what is done is skipped, what may succeed is retried."""

from __future__ import annotations

import random
import signal
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from types import FrameType
from typing import Any

from metabench.grid.engines.engine import Engine
from metabench.grid.store import Store
from metabench.grid.study import Study
from metabench.grid.work import AGAIN, Job, Outcome
from metabench.misuse import Misuse


@dataclass
class Tally:
    """How far a grid is: what a person watches, and what the last line sums up."""

    done: int  # cells with a result
    to_go: int  # cells not yet measured
    failed: dict[str, Outcome] = field(default_factory=dict)
    begun: float = field(default_factory=time.monotonic)
    heard: int = 0  # cells that ended in this run
    interrupted: bool = False

    def hear(self, outcome: Outcome) -> None:
        """Count a cell that ended; one that ends twice is counted by its last end."""
        self.heard += 1
        if outcome.digest in self.failed:
            del self.failed[outcome.digest]
        else:
            self.to_go -= 1
        if outcome.failed:
            self.failed[outcome.digest] = outcome
        else:
            self.done += 1

    def __str__(self) -> str:
        """Say it in one line: 9,812 done, 188 to go, 14 min left."""
        parts = [f"{self.done:,} done", f"{self.to_go:,} to go"]
        if self.heard and self.to_go:
            rate = (time.monotonic() - self.begun) / self.heard
            parts.append(f"{duration(rate * self.to_go)} left")
        if self.failed:
            parts.append(f"{len(self.failed):,} failed")
        return ", ".join(parts)


class Stop(AbstractContextManager["Stop"]):
    """The first Ctrl-C (or SIGTERM, of a job's end) takes no further cell; the second stops all."""

    asked = False

    def __enter__(self) -> Stop:
        """Listen to both signals."""
        self._before = {s: signal.signal(s, self._hear) for s in (signal.SIGINT, signal.SIGTERM)}
        return self

    def __exit__(self, *_: object) -> None:
        """Leave the signals as they were."""
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _hear(self, number: int, frame: FrameType | None) -> None:
        if self.asked:
            raise KeyboardInterrupt
        self.asked = True


def drive(
    study: Study,
    store: Store,
    engine: Engine,
    todo: Iterable[str],
    watch: Callable[[Tally], None],
) -> Tally:
    """Measure the cells in `todo`; every one is on record when its outcome is heard.

    They are taken in random order: the time left is forecast from a fair sample, and two parents
    on one study seldom meet. What was killed or ran out of memory is tried once more, alone.
    """
    todo = list(todo)
    random.SystemRandom().shuffle(todo)
    standing = store.standing()
    done = sum(standing.get(digest) == "done" for digest in study.cells)
    tally = Tally(done, len(todo))
    watch(tally)
    with Stop() as stop:
        for outcome in _twice(engine, study, store, todo, stop):
            tally.hear(outcome)
            watch(tally)
    tally.interrupted = stop.asked
    return tally


def todo(study: Study, store: Store, retry: bool) -> list[str]:
    """List the open cells: those without a result, but of the failed only the killed unless told.

    A failure is a record too: run again without a change it would fail again. Being killed is what
    happens to a process, not to a cell.
    """
    standing = store.standing()
    return [
        digest
        for digest in study.cells
        if (state := standing.get(digest, "open")) in ("open", "broken")
        or (state == "failed" and (retry or failure(store, digest)["status"] == "killed"))
    ]


def failure(store: Store, digest: str) -> dict[str, Any]:
    """Read why a cell failed; half a file is a failure of its own."""
    try:
        return store.read(digest) or {"status": "open"}
    except Misuse as error:
        return {"digest": digest, "status": "broken", "error": str(error)}


def shard(digests: Iterable[str], which: str) -> list[str]:
    """Take one of N equal shares, `i/N` with i from 0, the same on every machine.

    >>> shard("abcdef", "1/3")
    ['b', 'e']
    """
    first, slash, count = which.partition("/")
    if not slash or not (first.isdigit() and count.isdigit() and int(first) < int(count)):
        raise Misuse(f"--shard takes i/N with 0 <= i < N, such as 0/64; given {which!r}.")
    return sorted(digests)[int(first) :: int(count)]


def duration(seconds: float) -> str:
    """Say a time the way people do.

    >>> duration(30), duration(840), duration(9000)
    ('30 s', '14 min', '2.5 h')
    """
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"


def _twice(
    engine: Engine, study: Study, store: Store, todo: list[str], stop: Stop
) -> Iterator[Outcome]:
    again: list[str] = []
    for outcome in engine.run(_jobs(study, store, todo, stop)):
        if outcome.status in AGAIN:
            again.append(outcome.digest)
        yield outcome
    if again and not stop.asked:
        yield from engine.alone().run(_jobs(study, store, again, stop))


def _jobs(study: Study, store: Store, todo: list[str], stop: Stop) -> Iterator[Job]:
    for digest in todo:
        if stop.asked:
            return
        _, settings, spec = study.cells[digest]
        yield Job(store, digest, settings, spec, study.timeout)
