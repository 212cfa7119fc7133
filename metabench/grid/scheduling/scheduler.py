"""Measurement of a study's open cells on an executor, with one retry where it may help."""

from __future__ import annotations

import collections
import itertools
import random
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from typing import NamedTuple

from metabench.grid.execution.executors.executor import Executor
from metabench.grid.execution.run_cell import RETRIED, Job, Outcome
from metabench.grid.scheduling.memory_forecast import MemoryForecast
from metabench.grid.scheduling.progress_counts import Tally
from metabench.grid.scheduling.work_units import WHOLE_CELL, Unit, open_units, to_merge
from metabench.grid.study.study import Study
from metabench.probes.base import Part
from metabench.records.store.store import Store
from metabench.settings.interrupts import Stop


def drive(
    study: Study,
    store: Store,
    executor: Executor,
    todo: Iterable[str],
    watch: Callable[[Tally], None],
    mine: Collection[Unit] | None = None,
    standing: Mapping[str, str] | None = None,
) -> Tally:
    """Measure the cells in `todo` and return the counts; each is on record when it is counted.

    The order is random, so that the time left is forecast from a fair sample and two processes on
    one study seldom measure the same cell. A cell that was killed or ran out of memory is tried
    once more, alone. Parts of split cells are measured first, and merged when all are there.

    Args:
        study: the study.
        store: the store of its results.
        executor: runs the jobs.
        todo: digests of the cells to measure.
        watch: called with the counts after each cell or part.
        mine: units that may be measured here; None: all.
        standing: the state of each cell, as `store.standing()` gives it; None reads it.
    """
    todo = list(todo)
    asked = [
        unit
        for digest in todo
        for unit in open_units(digest, study.cells.kind(digest).split, store)
        if mine is None or unit in mine
    ]
    random.SystemRandom().shuffle(asked)
    standing = store.standing() if standing is None else standing
    done = collections.Counter(map(standing.get, study.cells))["done"]
    tally = Tally(done, len(todo), parts=sum(unit.number != WHOLE_CELL for unit in asked))
    watch(tally)
    with Stop() as stop:
        run = _Run(study, store, executor, stop, _memory(study, store, standing))
        failed_parts: dict[Unit, Outcome] = {}
        for outcome in run.with_retry(asked):
            if outcome.part is None:
                tally.count_cell(outcome)
            elif outcome.failed:
                failed_parts[Unit(outcome.digest, outcome.part.number)] = outcome
            else:
                failed_parts.pop(Unit(outcome.digest, outcome.part.number), None)
                tally.count_part()
            watch(tally)
        failed = {outcome.digest: outcome._replace(part=None) for outcome in failed_parts.values()}
        for outcome in itertools.chain(
            failed.values(), run.with_retry(to_merge(study, store, todo))
        ):
            tally.count_cell(outcome)
            watch(tally)
    tally.interrupted, tally.by = stop.asked, stop.by
    return tally


class _Run(NamedTuple):
    """What all jobs of a run share."""

    study: Study
    store: Store
    executor: Executor
    stop: Stop
    memory: MemoryForecast

    def with_retry(self, units: Iterable[Unit]) -> Iterator[Outcome]:
        """Measure the units; try once more, alone, those that others may have made fail."""
        retried: list[Unit] = []
        for outcome in self._run(self.executor, units):
            if outcome.status in RETRIED:
                number = WHOLE_CELL if outcome.part is None else outcome.part.number
                retried.append(Unit(outcome.digest, number))
            yield outcome
        if retried and not self.stop.asked:
            yield from self._run(self.executor.alone(), retried)

    def _run(self, executor: Executor, units: Iterable[Unit]) -> Iterator[Outcome]:
        for outcome in executor.run(self._jobs(units), lambda: self.stop.asked):
            self.memory.learn(self.study.cells[outcome.digest].spec, outcome)
            yield outcome

    def _jobs(self, units: Iterable[Unit]) -> Iterator[Job]:
        for digest, number in units:
            if self.stop.asked:
                return
            _, settings, spec, split = self.study.cells[digest]
            part = None if number == WHOLE_CELL else Part(number, split)
            need = self.memory.expected_bytes(spec) if settings["device"] == "cuda" else 0.0
            yield Job(self.store, digest, settings, spec, self.study.timeout, part, split, need)


def _memory(study: Study, store: Store, standing: Mapping[str, str]) -> MemoryForecast:
    """Forecast GPU cells' memory; of CPU cells, only the whole process's is known."""
    cells = study.cells
    if all(kind.device != "cuda" for kind in cells.all_kinds):
        return MemoryForecast()
    on_gpus = (digest for digest in cells if cells.kind(digest).device == "cuda")
    return MemoryForecast.on_record(store, (d for d in on_gpus if standing.get(d) == "done"))
