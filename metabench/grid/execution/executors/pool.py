"""Every device of this machine: one long-lived worker a slot, which may die without harm.

Pebble's pool (https://pebble.readthedocs.io) survives a killed worker and ends one that takes too
long; the standard library's loses the whole pool. A slot is a pool of one worker, so that it keeps
its device when the worker is replaced.
"""

from __future__ import annotations

import importlib
import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, CancelledError, Future, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from metabench.grid.execution.executors.executor import Broken, Executor
from metabench.grid.execution.executors.queue import Queue
from metabench.grid.execution.executors.slots import Slot
from metabench.grid.execution.run_cell import Job, Outcome, fail, work

if TYPE_CHECKING:
    from pebble import ProcessPool

STARTS = 3  # times that a slot's worker may die before it begins, until nothing is started any more


@dataclass(frozen=True)
class Pool(Executor):
    """A worker for each slot; a job waits for one of its kind whose device has memory for it."""

    slots: tuple[Slot, ...]

    def run(
        self, jobs: Iterable[Job], stopped: Callable[[], bool] = lambda: False
    ) -> Iterator[Outcome]:
        """Measure the jobs, yielding each as it ends; workers are stopped at the end."""
        queue = Queue(iter(jobs), self.slots, stopped)
        workers = [_Worker(slot) for slot in self.slots]
        running: Running = {}
        try:
            while _give(workers, queue, running):
                ended, _ = wait(running, return_when=FIRST_COMPLETED)
                for future in ended:
                    worker, job = running.pop(future)
                    outcome = worker.hear(future, job)
                    if outcome is None:  # the worker died before it began
                        running[worker.take(job)] = worker, job
                        continue
                    # its own worker is given the next job before the outcome is looked at
                    _give([worker], queue, running)
                    yield outcome
        finally:
            for worker in workers:
                worker.stop()

    def alone(self) -> Pool:
        """One slot of each kind of device, on the one with the most memory."""
        kinds = {slot.device: slot for slot in sorted(self.slots, key=lambda slot: slot.bytes)}
        return replace(self, slots=tuple(kinds.values()))

    @property
    def width(self) -> int:
        """Count the slots."""
        return len(self.slots)


Running = dict[Future[Outcome], tuple["_Worker", Job]]


def _give(workers: Iterable[_Worker], queue: Queue, running: Running) -> bool:
    """Give each worker that has nothing to do a job; tell whether anything is being measured."""
    busy = {id(worker) for worker, _ in running.values()}
    for worker in workers:
        if id(worker) in busy:
            continue
        place = worker.slot.place
        beside = (job for other, job in running.values() if other.slot.place == place)
        job = queue.take(worker.slot, beside)
        if job is not None:
            running[worker.take(job)] = worker, job
    return bool(running)


class _Worker:
    """One slot's pool of one process."""

    def __init__(self, slot: Slot) -> None:
        self.slot = slot
        self._pool: ProcessPool | None = None
        self._begun = 0.0
        self._failed_starts = 0

    def take(self, job: Job) -> Future[Outcome]:
        """Begin a job, in a new process if the last one is gone."""
        from pebble import ProcessPool

        if self._pool is None:
            context = multiprocessing.get_context("spawn")  # CUDA doesn't survive a fork
            environment = dict(self.slot.environment)
            self._pool = ProcessPool(
                max_workers=1, initializer=begin, initargs=(environment,), context=context
            )
        self._begun = time.perf_counter()
        timeout = job.timeout if job.timeout < float("inf") else None
        future: Future[Outcome] = self._pool.schedule(work, args=(job,), timeout=timeout)
        return future

    def hear(self, future: Future[Outcome], job: Job) -> Outcome | None:
        """Give what became of the job, recording it if its process couldn't; None: not begun."""
        from pebble import ProcessExpired

        seconds = time.perf_counter() - self._begun
        try:
            outcome = future.result()
        except TimeoutError:
            told = f"It took longer than {job.timeout:g} s."
            return fail(job, "timeout", seconds, told)
        except ProcessExpired as error:
            told = f"Its process was killed (exit code {error.exitcode}); memory may have run out."
            return fail(job, "killed", seconds, told)
        except (BrokenProcessPool, CancelledError) as error:
            self._start_again(error)
            return None
        self._failed_starts = 0
        if outcome.status == "oom":  # what is left in the process's memory may be in the way
            self.stop()
        return outcome

    def stop(self) -> None:
        """End the process, at once."""
        if self._pool is not None:
            self._pool.stop()  # type: ignore[no-untyped-call]
            self._pool.join()
            self._pool = None

    def _start_again(self, error: BaseException) -> None:
        self.stop()
        self._failed_starts += 1
        if self._failed_starts == STARTS:
            raise Broken(f"{STARTS} workers in a row died before they began ({error})")


def begin(environment: dict[str, str]) -> None:
    """Tie a new worker to its device, then load what every cell needs.

    The mask is set before torch is imported. Ctrl-C reaches every process of the terminal; the
    parent decides what it means.
    """
    torch = sys.modules.get("torch")  # a script of one's own may have imported it on its own
    if torch is not None and torch.cuda.is_initialized():
        raise RuntimeError("CUDA is in use before the worker's GPU is chosen")
    os.environ.update(environment)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    importlib.import_module("metabench.measurement.measurement")
