"""Run a study's open cells on an engine: what is done is skipped, what may succeed is retried."""

from __future__ import annotations

import itertools
import random
import signal
import time
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from types import FrameType
from typing import Any, NamedTuple, TypeVar

from metabench.grid import shards
from metabench.grid.engines.engine import Engine
from metabench.grid.needs import Needs
from metabench.grid.store import Store
from metabench.grid.study import Planned, Study
from metabench.grid.work import AGAIN, Job, Outcome
from metabench.misuse import Misuse
from metabench.probes.probe import Share

WHOLE = -1  # the number of a unit that is no share
U = TypeVar("U", bound="str | Unit")


@dataclass
class Tally:
    """How far a grid is: what a person watches, and what the last line sums up."""

    done: int  # cells with a result
    to_go: int  # cells not yet measured
    failed: dict[str, Outcome] = field(default_factory=dict)
    begun: float = field(default_factory=time.monotonic)
    heard: int = 0  # cells, and shares of cells, that ended in this run
    shares: int = 0  # shares of cells that are still to be measured
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

    def hear_share(self) -> None:
        """Count a share of a cell that was measured."""
        self.heard += 1
        self.shares -= 1

    def __str__(self) -> str:
        """Say it in one line: 9,812 done, 188 to go, 14 min left."""
        parts = [f"{self.done:,} done", f"{self.to_go:,} to go"]
        if self.shares:
            parts.append(f"{self.shares:,} shares of cells to go")
        if self.heard and self.to_go:
            rate = (time.monotonic() - self.begun) / self.heard
            parts.append(f"{duration(rate * (self.to_go + self.shares))} left")
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


class Unit(NamedTuple):
    """What one worker measures at a time: a cell, or one share of a cell that is cut."""

    digest: str
    number: int = WHOLE  # of the share; WHOLE: the cell, which its shares are merged to


def drive(
    study: Study,
    store: Store,
    engine: Engine,
    todo: Iterable[str],
    watch: Callable[[Tally], None],
    mine: Collection[Unit] | None = None,
) -> Tally:
    """Measure the cells in `todo`; every one is on record when its outcome is heard.

    They are taken in random order: the time left is forecast from a fair sample, and two parents
    on one study seldom meet. What was killed or ran out of memory is tried once more, alone. Of
    cells that are cut, the shares are measured first; whoever finds all of them merges them.
    `mine`, if given, are the units that may be measured here.
    """
    todo = list(todo)
    open_units = [unit for digest in todo for unit in _open_units(study.cells[digest], store)]
    asked = [unit for unit in open_units if mine is None or unit in mine]
    random.SystemRandom().shuffle(asked)
    standing = store.standing()
    done = sum(standing.get(digest) == "done" for digest in study.cells)
    tally = Tally(done, len(todo), shares=sum(unit.number != WHOLE for unit in asked))
    watch(tally)
    with Stop() as stop:
        run = _Run(study, store, engine, stop, _needs(study, store))
        lost: dict[Unit, Outcome] = {}
        for outcome in run.twice(asked):
            if outcome.share is None:
                tally.hear(outcome)
            elif outcome.failed:
                lost[Unit(outcome.digest, outcome.share.number)] = outcome
            else:
                lost.pop(Unit(outcome.digest, outcome.share.number), None)
                tally.hear_share()
            watch(tally)
        failed = {outcome.digest: outcome._replace(share=None) for outcome in lost.values()}
        for outcome in itertools.chain(failed.values(), run.twice(_whole(study, store, todo))):
            tally.hear(outcome)
            watch(tally)
    tally.interrupted = stop.asked
    return tally


def units(study: Study) -> list[Unit]:
    """List the units of a study, in the same order on every machine."""
    cells = study.cells.values()
    found = [Unit(cell.digest, number) for cell in cells for number in _numbers(cell)]
    return sorted(found)


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


def shard(units: Iterable[U], which: str) -> list[U]:
    """Take one of N equal shares, `i/N` with i from 0, the same on every machine.

    >>> shard("abcdef", "1/3")
    ['b', 'e']
    """
    first, slash, count = which.partition("/")
    if not slash or not (first.isdigit() and count.isdigit() and int(first) < int(count)):
        raise Misuse(f"--shard takes i/N with 0 <= i < N, such as 0/64; given {which!r}.")
    return sorted(units)[int(first) :: int(count)]


def duration(seconds: float) -> str:
    """Say a time the way people do.

    >>> duration(30), duration(840), duration(9000)
    ('30 s', '14 min', '2.5 h')
    """
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"


class _Run(NamedTuple):
    """What every job of a run has in common."""

    study: Study
    store: Store
    engine: Engine
    stop: Stop
    needs: Needs

    def twice(self, units: Iterable[Unit]) -> Iterator[Outcome]:
        """Measure the units, and once more, alone, what may have been its neighbours' fault."""
        again: list[Unit] = []
        for outcome in self._run(self.engine, units):
            if outcome.status in AGAIN:
                number = WHOLE if outcome.share is None else outcome.share.number
                again.append(Unit(outcome.digest, number))
            yield outcome
        if again and not self.stop.asked:
            yield from self._run(self.engine.alone(), again)

    def _run(self, engine: Engine, units: Iterable[Unit]) -> Iterator[Outcome]:
        for outcome in engine.run(self._jobs(units), lambda: self.stop.asked):
            self.needs.learn(self.study.cells[outcome.digest].spec, outcome)
            yield outcome

    def _jobs(self, units: Iterable[Unit]) -> Iterator[Job]:
        for digest, number in units:
            if self.stop.asked:
                return
            _, settings, spec, shards = self.study.cells[digest]
            share = None if number == WHOLE else Share(number, shards)
            need = self.needs.of(spec) if settings["device"] == "cuda" else 0.0
            yield Job(self.store, digest, settings, spec, self.study.timeout, share, shards, need)


def _needs(study: Study, store: Store) -> Needs:
    """Learn what GPU cells take; of a CPU's, only the process as a whole is known."""
    on_gpus = [d for d, cell in study.cells.items() if cell.settings["device"] == "cuda"]
    return Needs.on_record(store, on_gpus)


def _numbers(cell: Planned) -> Iterable[int]:
    return range(cell.shards) if cell.shards > 1 else (WHOLE,)


def _open_units(cell: Planned, store: Store) -> list[Unit]:
    """List what is to be measured of a cell; of one that is cut, its missing shares."""
    if cell.shards == 1:
        return [Unit(cell.digest)]
    missing = shards.missing(store, cell.digest, cell.shards)
    return [Unit(cell.digest, share.number) for share in missing]


def _whole(study: Study, store: Store, todo: Iterable[str]) -> list[Unit]:
    """List the cells whose shares are all there, or that another parent has merged meanwhile."""
    cut = [study.cells[digest] for digest in todo if study.cells[digest].shards > 1]
    return [
        Unit(cell.digest)
        for cell in cut
        if store.is_done(cell.digest) or not shards.missing(store, cell.digest, cell.shards)
    ]
