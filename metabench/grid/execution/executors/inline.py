"""The executor that measures cells one after another in the current process."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from metabench.grid.execution.executors.executor import Executor
from metabench.grid.execution.run_cell import Job, Outcome, fail, run_cell
from metabench.settings.alarms import Alarm, TimeUp


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
        with Alarm(job.timeout):
            return run_cell(job)
    except TimeUp:
        reason = f"It took longer than {job.timeout:g} s."
        return fail(job, "timeout", time.perf_counter() - begun, reason)
