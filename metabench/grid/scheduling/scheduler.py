"""Run a study's open cells on an executor: what is done is skipped, what may succeed is retried."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from typing import NamedTuple

from metabench.grid.execution.executors.executor import Executor
from metabench.grid.execution.run_cell import AGAIN, Job, Outcome
from metabench.grid.scheduling.interrupts import Stop
from metabench.grid.scheduling.memory_forecast import Needs
from metabench.grid.scheduling.progress_counts import Tally
from metabench.grid.scheduling.work_units import WHOLE, Unit, open_units, to_merge
from metabench.grid.study.study import Study
from metabench.probes.base import Part
from metabench.records.store.store import Store


def drive(
    study: Study,
    store: Store,
    executor: Executor,
    todo: Iterable[str],
    watch: Callable[[Tally], None],
    mine: Collection[Unit] | None = None,
    standing: Mapping[str, str] | None = None,
) -> Tally:
    """Measure the cells in `todo`; every one is on record when its outcome is heard.

    They are taken in random order: the time left is forecast from a fair sample, and two parents
    on one study seldom meet. What was killed or ran out of memory is tried once more, alone. Of
    cells that are cut, the shares are measured first; whoever finds all of them merges them.
    `mine`, if given, are the units that may be measured here; `standing` is the store's, if the
    caller has looked.
    """
    todo = list(todo)
    asked = [
        unit
        for digest in todo
        for unit in open_units(study.cells[digest], store)
        if mine is None or unit in mine
    ]
    random.SystemRandom().shuffle(asked)
    standing = store.standing() if standing is None else standing
    done = sum(standing.get(digest) == "done" for digest in study.cells)
    tally = Tally(done, len(todo), shares=sum(unit.number != WHOLE for unit in asked))
    watch(tally)
    with Stop() as stop:
        run = _Run(study, store, executor, stop, _needs(study, store))
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
        for outcome in itertools.chain(failed.values(), run.twice(to_merge(study, store, todo))):
            tally.hear(outcome)
            watch(tally)
    tally.interrupted = stop.asked
    return tally


class _Run(NamedTuple):
    """What every job of a run has in common."""

    study: Study
    store: Store
    executor: Executor
    stop: Stop
    needs: Needs

    def twice(self, units: Iterable[Unit]) -> Iterator[Outcome]:
        """Measure the units, and once more, alone, what may have been its neighbors' fault."""
        again: list[Unit] = []
        for outcome in self._run(self.executor, units):
            if outcome.status in AGAIN:
                number = WHOLE if outcome.share is None else outcome.share.number
                again.append(Unit(outcome.digest, number))
            yield outcome
        if again and not self.stop.asked:
            yield from self._run(self.executor.alone(), again)

    def _run(self, executor: Executor, units: Iterable[Unit]) -> Iterator[Outcome]:
        for outcome in executor.run(self._jobs(units), lambda: self.stop.asked):
            self.needs.learn(self.study.cells[outcome.digest].spec, outcome)
            yield outcome

    def _jobs(self, units: Iterable[Unit]) -> Iterator[Job]:
        for digest, number in units:
            if self.stop.asked:
                return
            _, settings, spec, split = self.study.cells[digest]
            share = None if number == WHOLE else Part(number, split)
            need = self.needs.of(spec) if settings["device"] == "cuda" else 0.0
            yield Job(self.store, digest, settings, spec, self.study.timeout, share, split, need)


def _needs(study: Study, store: Store) -> Needs:
    """Learn what GPU cells take; of a CPU's, only the process as a whole is known."""
    on_gpus = [d for d, cell in study.cells.items() if cell.settings["device"] == "cuda"]
    return Needs.on_record(store, on_gpus)
