"""The executor that measures cells one after another in the current process."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType

from metabench.grid.execution.executors.executor import Executor
from metabench.grid.execution.run_cell import Job, Outcome, fail, run_cell

AGAIN = 0.5  # between alarms, as Python drops what a destructor raises [seconds]


class TimeUp(BaseException):
    """A cell has used up its time; no `except Exception` of a user's code swallows it."""


@dataclass(frozen=True)
class Inline(Executor):
    """Runs cells in the current process, where a debugger works.

    A timeout ends a cell between two Python instructions, so not within a long operation of torch.
    """

    threads: int = 1  # torch threads [threads]

    def run(
        self, jobs: Iterable[Job], stopped: Callable[[], bool] = lambda: False
    ) -> Iterator[Outcome]:
        """Measure the jobs in order."""
        import torch

        torch.set_num_threads(self.threads)
        return map(_run_in_time, jobs)

    def alone(self) -> Inline:
        """Return this executor, which runs one job at a time already."""
        return self

    @property
    def width(self) -> int:
        """1: cells run one after another."""
        return 1


def _run_in_time(job: Job) -> Outcome:
    begun = time.perf_counter()
    try:
        with _limit(job.timeout):
            return run_cell(job)
    except TimeUp:
        reason = f"It took longer than {job.timeout:g} s."
        return fail(job, "timeout", time.perf_counter() - begun, reason)


@contextmanager
def _limit(seconds: float) -> Generator[None]:
    """Raise TimeUp after so many seconds; alarms need the main thread of a Unix process."""
    main = threading.current_thread() is threading.main_thread()
    if seconds == float("inf") or not main or not hasattr(signal, "setitimer"):
        yield
        return
    over = False

    def stop(number: int, frame: FrameType | None) -> None:
        if not over:
            raise TimeUp

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, max(seconds, 1e-3), AGAIN)
    try:
        yield
    finally:
        over = True
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
