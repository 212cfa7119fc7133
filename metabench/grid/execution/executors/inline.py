"""One cell after another, in this process: for debugging, and where there is no other process."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from metabench.grid.execution.executors.executor import Executor
from metabench.grid.execution.run_cell import Job, Outcome, work


@dataclass(frozen=True)
class Inline(Executor):
    """The foreground: a debugger works, a timeout doesn't, and a kill is the end."""

    threads: int = 1  # torch threads [threads]

    def run(
        self, jobs: Iterable[Job], stopped: Callable[[], bool] = lambda: False
    ) -> Iterator[Outcome]:
        """Measure the jobs in order."""
        import torch

        torch.set_num_threads(self.threads)
        return map(work, jobs)

    def alone(self) -> Inline:
        """It is alone."""
        return self

    @property
    def width(self) -> int:
        """One at a time."""
        return 1
