"""The interface of executors, which run jobs in other processes and yield their outcomes."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator

from metabench.grid.execution.run_cell import Job, Outcome


class Broken(OSError):
    """No worker can be started, for a reason outside of the cells."""


class Executor(ABC):
    """Runs jobs; settings are dataclass fields, and a job is taken only when a worker is free.

    When the iterable of jobs ends, the executor finishes those already taken. An interrupt
    therefore only has to end the iterable.
    """

    @abstractmethod
    def run(
        self, jobs: Iterable[Job], stopped: Callable[[], bool] = lambda: False
    ) -> Iterator[Outcome]:
        """Measure every job and yield each outcome as the job ends.

        Once `stopped` returns True, jobs that were taken but not started are dropped.
        """

    @abstractmethod
    def alone(self) -> Executor:
        """Return an executor that measures one job at a time per kind of device."""

    @property
    @abstractmethod
    def width(self) -> int:
        """The number of jobs that run at the same time, for the estimate of time left."""
