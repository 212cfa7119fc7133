"""The executor for this machine's devices: one long-lived worker process per slot.

Pebble's pool (https://pebble.readthedocs.io) survives a killed worker and ends one that takes too
long; in the standard library a killed worker breaks the whole pool. A slot is a pool of
one worker, so that it keeps its device when the worker is replaced.
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
from metabench.grid.execution.run_cell import Job, Outcome, fail, run_cell

if TYPE_CHECKING:
    from pebble import ProcessPool

MOST_FAILED_STARTS = 3  # of a slot's worker in a row, after which the run ends


@dataclass(frozen=True)
class Pool(Executor):
    """Runs a worker per slot; a job waits for a slot of its kind of device with enough memory."""

    slots: tuple[Slot, ...]

    def run(
        self, jobs: Iterable[Job], stopped: Callable[[], bool] = lambda: False
    ) -> Iterator[Outcome]:
        """Measure the jobs and yield each outcome; stop the workers at the end."""
        queue = Queue(iter(jobs), self.slots, stopped)
        workers = [_Worker(slot) for slot in self.slots]
        running: Running = {}
        try:
            while _give(workers, queue, running):
                ended, _ = wait(running, return_when=FIRST_COMPLETED)
                for future in ended:
                    worker, job = running.pop(future)
                    outcome = worker.outcome_of(future, job)
                    if outcome is None:  # the worker ended before it started the job
                        running[worker.take(job)] = worker, job
                        continue
                    # the worker gets its next job before the caller handles the outcome
                    _give([worker], queue, running)
                    yield outcome
        finally:
            for worker in workers:
                worker.stop()

    def alone(self) -> Pool:
        """Return a pool of one slot per kind of device, on the device with the most memory."""
        kinds = {slot.device: slot for slot in sorted(self.slots, key=lambda slot: slot.bytes)}
        return replace(self, slots=tuple(kinds.values()))

    @property
    def width(self) -> int:
        """The number of slots."""
        return len(self.slots)


Running = dict[Future[Outcome], tuple["_Worker", Job]]


def _give(workers: Iterable[_Worker], queue: Queue, running: Running) -> bool:
    """Give each idle worker a job; return whether any job is running."""
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
    """The pool of one process for one slot."""

    def __init__(self, slot: Slot) -> None:
        self.slot = slot
        self._pool: ProcessPool | None = None
        self._begun = 0.0
        self._failed_starts = 0

    def take(self, job: Job) -> Future[Outcome]:
        """Start a job, in a new process if there is none."""
        from pebble import ProcessPool

        if self._pool is None:
            context = multiprocessing.get_context("spawn")  # CUDA doesn't survive a fork
            environment = dict(self.slot.environment)
            self._pool = ProcessPool(
                max_workers=1, initializer=begin, initargs=(environment,), context=context
            )
        self._begun = time.perf_counter()
        timeout = job.timeout if job.timeout < float("inf") else None
        future: Future[Outcome] = self._pool.schedule(run_cell, args=(job,), timeout=timeout)
        return future

    def outcome_of(self, future: Future[Outcome], job: Job) -> Outcome | None:
        """Return a job's outcome, recorded here if its process ended; None: it never started."""
        from pebble import ProcessExpired

        seconds = time.perf_counter() - self._begun
        try:
            outcome = future.result()
        except TimeoutError:
            reason = f"It took longer than {job.timeout:g} s."
            return fail(job, "timeout", seconds, reason)
        except ProcessExpired as error:
            reason = (
                f"Its process was killed (exit code {error.exitcode}); memory may have run out."
            )
            if abs(error.exitcode) == signal.SIGTERM:
                reason = "Its process was terminated by SIGTERM, which a cancelled job gets."
            return fail(job, "killed", seconds, reason)
        except (BrokenProcessPool, CancelledError) as error:
            self._start_again(error)
            return None
        self._failed_starts = 0
        if outcome.status == "oom":  # the process may still hold memory
            self.stop()
        return outcome

    def stop(self) -> None:
        """End the process immediately."""
        if self._pool is not None:
            self._pool.stop()  # type: ignore[no-untyped-call]
            self._pool.join()
            self._pool = None

    def _start_again(self, error: BaseException) -> None:
        self.stop()
        self._failed_starts += 1
        if self._failed_starts == MOST_FAILED_STARTS:
            raise Broken(f"{MOST_FAILED_STARTS} workers in a row ended while starting up ({error})")


def begin(environment: dict[str, str]) -> None:
    """Bind a new worker process to its device, then import what every cell needs.

    The mask is set before torch is imported. Ctrl-C reaches every process of the terminal; the
    parent decides what it means.
    """
    torch = sys.modules.get("torch")  # the user's script may have imported it
    if torch is not None and torch.cuda.is_initialized():
        raise RuntimeError("CUDA was initialized before the worker's GPU was chosen.")
    os.environ.update(environment)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    importlib.import_module("metabench.measurement.measurement")
