"""The executor that measures cells one after another in the current process."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from metabench.grid.execution.executors.executor import Executor
from metabench.grid.execution.run_cell import Job, Outcome, run_cell


@dataclass(frozen=True)
class Inline(Executor):
    """Runs cells in the current process, where a debugger works but a timeout has no effect."""

    threads: int = 1  # torch threads [threads]

    def run(
        self, jobs: Iterable[Job], stopped: Callable[[], bool] = lambda: False
    ) -> Iterator[Outcome]:
        """Measure the jobs in order."""
        import torch

        torch.set_num_threads(self.threads)
        return map(run_cell, jobs)

    def alone(self) -> Inline:
        """Return this executor, which runs one job at a time already."""
        return self

    @property
    def width(self) -> int:
        """One."""
        return 1
